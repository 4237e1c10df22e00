#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: plan_report
short_description: Plan a fleet, print the plans, compare them with running servers and an earlier plan, and write them to a file
version_added: "0.1.0"
description:
  - Plans every host from its facts C(ansible_facts.tfserving_capabilities) and its variables, as the entry point C(plan) of the role
    C(tfserving.fleet.tfs_capabilities) does. It plans all hosts in one task, because each task costs the controller some milliseconds for each host.
  - Prints one text for all hosts. The text groups hosts with the same plan, by class, and shows what they get, why, and what the plan refuses with which
    remedy.
  - Runs on the controller and needs no connection to a host. Run it once for all hosts with C(run_once).
options:
  hosts:
    description: Hosts to plan. The text lists hosts without capabilities in their facts.
    type: list
    elements: str
    required: true
  earlier:
    description: File on the controller that O(path) wrote before. The text ends with the differences from it.
    type: path
  running:
    description:
      - Name of the variable that holds the result of M(tfserving.fleet.model_server_info) on each host. The text then shows what a deployment of the plans
        would change.
      - A host without this variable is compared with its fact C(ansible_facts.tfserving_servers), if it has that.
    type: str
  planned:
    description:
      - Name of the variable that holds the result of M(tfserving.fleet.host_plan) on hosts with tunings, which RV(tuned) lists. The plans of these hosts are
        taken from there, because they depend on the graphs of the published models.
    type: str
  path:
    description: File on the controller for the plans as JSON. The action creates missing folders.
    type: path
  display:
    description:
      - Print the text, which RV(table) also has.
      - The action does not print it if a program reads the output, that is with a stdout callback such as C(ansible.posix.json).
    type: bool
    default: true
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  check_mode:
    description: Prints the text and predicts whether the file would change.
  diff_mode:
    description: Shows how the file changes.
    support: full
  platform:
    description: Runs on the controller.
    platforms: posix
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Print what every host gets
  tfserving.fleet.plan_report:
    hosts: "{{ ansible_play_hosts_all }}"
    path: build/plan.json
  run_once: true
"""

RETURN = r"""
plans:
  description: Plans by host, as P(tfserving.fleet.serving_plan#filter) returns them. Null for a host without capabilities.
  type: dict
  returned: success
  sample: {web-1: {image: "tensorflow/serving:2.20.0"}}
table:
  description: The printed text.
  type: str
  returned: success
  sample: "HOSTS  CLASS ..."
refused_hosts:
  description: Hosts whose plan has refusals.
  type: list
  elements: str
  returned: success
  sample: [old-1]
changes:
  description: Differences from the earlier plans, as lines. Null without O(earlier).
  type: list
  elements: str
  returned: success
  sample: ["  image: tensorflow/serving:2.19.1 -> tensorflow/serving:2.20.0   [web-1]"]
running:
  description:
    - What a deployment of its plan would change, by host. C(seen) is V(now), V(remembered), or null if the running servers are unknown. C(reason) says why the
      host was not queried now, or is null. C(differences) are lines.
  type: dict
  returned: success
  sample: {web-1: {seen: now, reason: null, differences: ["digits: image: tensorflow/serving:2.19.1 -> tensorflow/serving:2.20.0"]}}
news:
  description: Hosts whose running servers differ from the remembered ones.
  type: list
  elements: str
  returned: success
  sample: [web-1]
tuned:
  description: Hosts with a tuning that depends on the graph of a published model.
  type: list
  elements: str
  returned: success
  sample: [web-1]
actions:
  description: Actions that the action plugin took, or would take in check mode.
  type: list
  elements: str
  returned: success
  sample: [Write build/plan.json]
"""
