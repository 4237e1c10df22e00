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

import hashlib
import json
import os

from ansible_collections.tfserving.fleet.plugins.module_utils._core import atomic_files, shell
from ansible_collections.tfserving.fleet.plugins.module_utils._core.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._report import document, page, summary

HOST_OPTIONS = {
    "host": {"type": "str", "required": True},
    "capabilities": {"type": "dict"},
    "plan": {"type": "dict"},
    "server": {"type": "dict"},
    "tunings": {"type": "list", "elements": "dict"},
    "checks": {"type": "list", "elements": "dict"},
}


def main():
    """Run the module."""
    module = shell.FleetModule(
        argument_spec={
            "destination": {"type": "path", "required": True},
            "hosts": {"type": "list", "elements": "dict", "required": True, "options": HOST_OPTIONS},
            "title": {"type": "str", "default": "TensorFlow Serving on this fleet"},
            "measured_at": {"type": "str"},
        },
        supports_check_mode=True,
    )
    shell.run(module, lambda: _report(module.params, module.check_mode))


def _report(options, check_mode):
    wanted = document.build(options["hosts"], options["title"], options["measured_at"])
    data_path, page_path = (os.path.join(options["destination"], name) for name in ("report.json", "report.html"))
    try:
        present = {path: _read(path) for path in (data_path, page_path)}
        earlier = _document(present[data_path])
        if earlier and earlier["total"] and not wanted["total"]:
            decision = Decision(
                changed=False,
                warnings=(
                    f"{data_path} holds measurements and this run brought none, so the report was left as it is",
                ),
            )
            shown = earlier
        else:
            contents = {
                data_path: (json.dumps(wanted, indent=1, allow_nan=False) + "\n").encode(),
                page_path: page.render(wanted).encode(),
            }
            decision = _decide(present, contents, data_path, earlier, wanted)
            shown = wanted
            if decision.changed and not check_mode:
                _write(options["destination"], present, contents)
    except OSError as fault:
        raise FleetError(
            f"cannot write the report to {options['destination']!r}: {fault.strerror} ({fault.filename})",
            where="destination",
            remedy="Name a directory that this user may write.",
        ) from fault
    return decision.result(
        page=page_path, data=data_path, headline=summary.headline(shown), summary=summary.lines(shown)
    )


def _write(directory, present, contents):
    os.makedirs(directory, exist_ok=True)
    for path, content in contents.items():
        if present[path] != content:
            atomic_files.write_file(path, content)


def _document(content):
    """The document in the bytes of a report.json, or None where there is none that this version can read."""
    try:
        found = json.loads(content or b"null")
        summary.lines(found)
        return found
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _read(path):
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def _decide(present, contents, data_path, earlier, wanted):
    return Decision(
        changed=present != contents,
        before=_described(present, summary.lines(earlier) if earlier else []),
        after=_described(contents, summary.lines(wanted)),
        actions=tuple(f"write {path}" for path in contents if present[path] != contents[path]),
        header=data_path,
    )


def _described(contents, lines):
    """The summary, and a line for each file: enough for a diff that a person reads."""
    files = [
        f"{os.path.basename(path)}: sha256 {hashlib.sha256(content).hexdigest()}"
        for path, content in contents.items()
        if content is not None
    ]
    return "".join(f"{line}\n" for line in lines + files)


if __name__ == "__main__":
    main()
