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
  - Writes C(report.html), one page that needs no other file, and C(report.json), the same as data, into a directory.
  - The page says what was gained, on which machine, by which steps, and how it was measured. It also says which server was measured.
  - Figures of TensorFlow Serving and of the embedded server never stand in one report.
  - A report with measurements is never replaced by one without; the module warns and leaves it.
  - The module runs where the report shall lie, as a rule on the controller.
options:
  destination:
    description: Directory of the report. It is made where it is missing.
    type: path
    required: true
  hosts:
    description: What is known about each host. Data that does not exist may be left out.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: Name of the host.
        type: str
        required: true
      capabilities:
        description: The fact C(tfserving_capabilities) of the host.
        type: dict
      plan:
        description: The plan of the host.
        type: dict
      server:
        description: The server that was measured.
        type: dict
      price_per_hour:
        description:
          - Price of the host per hour, in any currency, the same for all hosts. With it, the report says what a million requests cost before and after.
        type: float
      tunings:
        description:
          - What the tunings on this host returned, one entry a model, each as M(tfserving.fleet.tuning) returns C(tuning), with C(model) added.
          - The C(backend) that was measured is taken from the entry, else from O(hosts[].server), else from O(hosts[].plan).
        type: list
        elements: dict
      checks:
        description: The checks of the served models against their source models.
        type: list
        elements: dict
  title:
    description: Title of the report.
    type: str
    default: TensorFlow Serving on this fleet
  measured_at:
    description: When it was measured, as it shall be written. The module does not look at the clock, so that the same input gives the same report.
    type: str
  data:
    description: The report as JSON data. For the action plugin, not for playbooks.
    type: str
  page:
    description: The page. For the action plugin, not for playbooks.
    type: str
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  check_mode:
    description: Can run in check mode and returns what it would write.
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
  description: Path of the page.
  returned: success
  type: str
  sample: /tmp/tfserving-report/report.html
data:
  description: Path of the same as JSON data.
  returned: success
  type: str
  sample: /tmp/tfserving-report/report.json
headline:
  description: The result in a sentence.
  returned: success
  type: str
  sample: "The baseline was kept: nothing beat it by more than the noise."
summary:
  description: The result as the lines of a text table.
  returned: success
  type: list
  elements: str
  sample: ["step     kept  requests/s"]
actions:
  description: What was done, or would be.
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
