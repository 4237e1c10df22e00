#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: plan_report
short_description: Print the plans of a fleet, compare them with earlier ones, keep them as a file
version_added: "0.1.0"
description:
  - Prints one text for all hosts. Hosts with one plan stand together, by class, with what they get, why, and what is refused with which remedy.
  - Runs on the controller and needs no connection to a host. Run it once for all hosts with C(run_once).
options:
  plans:
    description: The plans by host, as P(tfserving.fleet.serving_plan#filter) returns them; null for a host whose capabilities are not known.
    type: dict
    required: true
  earlier:
    description: A file on the controller that O(path) wrote before. What is planned differently from it is told at the end.
    type: path
  path:
    description: Where to write the plans as JSON on the controller. Folders that are missing are made.
    type: path
attributes:
  action_group:
    description: Belongs to the action group C(tfserving.fleet.fleet).
    support: full
    membership:
      - tfserving.fleet.fleet
  check_mode:
    description: Prints, and says whether the file would change.
    support: full
  diff_mode:
    description: Shows the change of the file.
    support: full
  platform:
    description: Runs on the controller.
    platforms: posix
    support: full
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Print the plans
  tfserving.fleet.plan_report:
    plans: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, ['tfs_capabilities_plan_result', 'plan']))) }}"
    path: build/plan.json
  run_once: true
"""

RETURN = r"""
refused_hosts:
  description: The hosts whose plan refuses something.
  type: list
  elements: str
  returned: success
  sample: [old-1]
changes:
  description: What is planned differently from the earlier plans, as lines; null without O(earlier).
  type: list
  elements: str
  returned: success
  sample: ["  image: tensorflow/serving:2.19.1 -> tensorflow/serving:2.20.0   [web-1]"]
actions:
  description: What was done, or would be in check mode.
  type: list
  elements: str
  returned: success
  sample: [Write build/plan.json]
"""
