#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_plan
short_description: Plan one host from its facts and variables, and detect it first where nothing is known of it
version_added: "0.1.0"
description:
  - Returns what a host serves. It follows from the host's capabilities, the collection-wide variables (C(tfserving_models) and so on), the variables
    C(tfs_server_*) that the user set for the host, and the tunings of its tuning class.
  - The roles begin with it, so none of them needs another play to have run. The playbook C(tfserving.fleet.plan) plans with the same function.
  - Takes the fact C(ansible_facts.tfserving_capabilities) where the host has it. Otherwise it detects the host as M(tfserving.fleet.capability_facts) does, and
    returns the facts.
  - A host needs no detection where the inventory asks for nothing that depends on the host, or where the variables of C(tfs_server) say everything.
options:
  for_server:
    description:
      - Whether a server of this host shall be made from the plan. Then a refusal fails the task, and C(tfs_server_state) counts. A server that is stopped,
        removed or rolled back needs no plan.
    type: bool
    default: true
  tunings:
    description: Whether tunings count.
    type: bool
    default: true
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  platform:
    description: Runs on the controller, and on the host to detect it.
    platforms: posix
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Plan this host
  tfserving.fleet.host_plan:
  register: planned
"""

RETURN = r"""
plan:
  description: The plan, as P(tfserving.fleet.serving_plan#filter) returns it, with what role variables and tunings change; null where nothing is planned.
  type: dict
  returned: success
  sample: {backend: docker, image: "tensorflow/serving:2.20.0"}
deployment:
  description: What tells this run of Ansible from others, C(id), the same on all hosts; and the time of the controller, C(at).
  type: dict
  returned: success
  sample: {id: 0242ac11-0002-9f1c-7b3e, at: "2026-03-02T10:00:00Z"}
server:
  description:
    - What the role P(tfserving.fleet.tfs_server#role) gives to M(tfserving.fleet.model_server). C(refusals) are texts; a host that has one is not served.
  type: dict
  returned: success
  sample: {name: digits, backend: docker, image: "tensorflow/serving:2.20.0", flags: {enable_profiler: false}, refusals: []}
"""
