#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the report of a fleet."""

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Write the report of what was detected, planned and measured
version_added: "0.1.0"
author:
  - The tfserving.fleet contributors (@tfserving)
description:
  - Writes C(report.html), one page that needs no other file, and C(report.json), with the same data, into a directory.
  - The page shows what was gained, on which machine, by which steps, and how it was measured. It also shows which server was measured.
  - One report never combines figures of TensorFlow Serving with figures of the embedded server. If O(hosts) have tunings of several backends, the module
    writes a report for each, in the folders C(docker) and C(embedded) of O(destination). Hosts without a tuning are in the report of the backend of their
    server or plan, and hosts without both are in all reports.
  - A report with measurements is never replaced by one without. The module then warns and keeps the report.
  - The module runs where the report is written, usually on the controller.
options:
  destination:
    description: Directory of the report. The module creates it.
    type: path
    required: true
  hosts:
    description: Data about each host. Omit data that does not exist.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: Name of the host.
        type: str
        required: true
      capabilities:
        description: Fact C(tfserving_capabilities) of the host.
        type: dict
      plan:
        description: Plan of the host.
        type: dict
      server:
        description: Server that was measured.
        type: dict
      price_per_hour:
        description:
          - Price of the host per hour, in any currency, the same for all hosts. With it, the report says what a million requests cost before and after.
        type: float
      tunings:
        description:
          - Tunings on this host, one entry for each model, as M(tfserving.fleet.tuning) returns C(tuning), with C(model) added.
          - The C(backend) that was measured comes from the entry, otherwise from O(hosts[].server), otherwise from O(hosts[].plan).
        type: list
        elements: dict
      checks:
        description: Checks of the served models against their source models.
        type: list
        elements: dict
  title:
    description: Title of the report.
    type: str
    default: TensorFlow Serving on this fleet
  measured_at:
    description: Time of the measurement, as text for the page. The module does not read the clock, so the same input gives the same report.
    type: str
  data:
    description: Report as JSON data. For the action plugin, not for playbooks.
    type: str
  page:
    description: HTML page. For the action plugin, not for playbooks.
    type: str
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  check_mode:
    description: Predicts what it would write.
  diff_mode:
    description: Shows the summary and the digest of the data before and after, not the whole page.
    support: full
"""

EXAMPLES = r"""
- name: Write a report of what the hosts can do
  tfserving.fleet.report:
    destination: /tmp/tfserving-report
    title: Model servers of the shop
    hosts:
      - host: edge-1
        capabilities:
          classes: {image: x86-64-v3, tuning: x86-64-v3-intel-4c-1n}
      - host: edge-2
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
page:
  description: Path of the page. If there are several reports, that of the first.
  returned: success
  type: str
  sample: /tmp/tfserving-report/report.html
data:
  description: Path of the JSON file. If there are several reports, that of the first.
  returned: success
  type: str
  sample: /tmp/tfserving-report/report.json
reports:
  description: Each report with the backend that was measured (null if none was), the paths of its files, and its result in one sentence.
  returned: success
  type: list
  elements: dict
  sample:
    - backend: docker
      page: /tmp/tfserving-report/report.html
      data: /tmp/tfserving-report/report.json
      headline: "The baseline was kept: nothing beat it by more than the noise."
headline:
  description: Result in one sentence, for several reports one after the other.
  returned: success
  type: str
  sample: "The baseline was kept: nothing beat it by more than the noise."
summary:
  description: Result as the lines of a text table, for several reports one below the other.
  returned: success
  type: list
  elements: str
  sample: ["step     kept  requests/s"]
actions:
  description: Actions that the module took, or would take in check mode.
  returned: success
  type: list
  elements: str
  sample: ["write /tmp/tfserving-report/report.json"]
"""

from ansible_collections.tfserving.fleet.plugins.module_utils._core import shell
from ansible_collections.tfserving.fleet.plugins.module_utils._report import document, files


def main():
    """Run the module."""
    module = shell.FleetModule(
        dict(document.OPTIONS, data={"type": "str"}, page={"type": "str"}), supports_check_mode=True
    )
    options = module.params
    shell.run(
        module,
        lambda: files.replace(options["destination"], options["data"], options["page"], module.check_mode),
    )


if __name__ == "__main__":
    main()
