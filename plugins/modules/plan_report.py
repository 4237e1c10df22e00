#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: plan_report
short_description: Plan a fleet and print it, compare it with what runs and with an earlier plan, keep it as a file
version_added: "0.1.0"
description:
  - Plans every host from its facts C(ansible_facts.tfserving_capabilities) and its variables, as the entry point C(plan) of the role
    C(tfserving.fleet.tfs_capabilities) does, but all hosts in one task, because a task costs the controller some milliseconds for each host.
  - Prints one text for all hosts. Hosts with one plan stand together, by class, with what they get, why, and what is refused with which remedy.
  - Runs on the controller and needs no connection to a host. Run it once for all hosts with C(run_once).
options:
  hosts:
    description: The hosts to plan for. One without capabilities among its facts is named as such.
    type: list
    elements: str
    required: true
  earlier:
    description: A file on the controller that O(path) wrote before. What is planned differently from it is told at the end.
    type: path
  running:
    description:
      - Name of the variable in which each host keeps what M(tfserving.fleet.model_server_info) returned for it. What deploying the plans would change is told.
      - A host without it is compared with what is remembered in its fact C(ansible_facts.tfserving_servers), if anything is.
    type: str
  path:
    description: Where to write the plans as JSON on the controller. Folders that are missing are made.
    type: path
  display:
    description:
      - Print the text, which RV(table) has as well.
      - It is not printed where a program reads the output, that is with a stdout callback such as C(ansible.posix.json).
    type: bool
    default: true
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  check_mode:
    description: Prints, and says whether the file would change.
  diff_mode:
    description: Shows the change of the file.
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
  description: The plans by host, as P(tfserving.fleet.serving_plan#filter) returns them; null for a host without capabilities.
  type: dict
  returned: success
  sample: {web-1: {image: "tensorflow/serving:2.20.0"}}
table:
  description: The text for people.
  type: str
  returned: success
  sample: "HOSTS  CLASS ..."
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
running:
  description:
    - By host, what deploying its plan would change. C(seen) is V(now), V(remembered), or null where nothing is known of what runs; C(reason) is why it was not
      asked now, or null; C(differences) are lines.
  type: dict
  returned: success
  sample: {web-1: {seen: now, reason: null, differences: ["digits: image: tensorflow/serving:2.19.1 -> tensorflow/serving:2.20.0"]}}
news:
  description: The hosts on which something else runs than is remembered.
  type: list
  elements: str
  returned: success
  sample: [web-1]
actions:
  description: What was done, or would be in check mode.
  type: list
  elements: str
  returned: success
  sample: [Write build/plan.json]
"""
