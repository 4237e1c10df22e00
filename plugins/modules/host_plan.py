#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_plan
short_description: Plan one host from its facts and variables, after detection if it has no facts
version_added: "0.1.0"
description:
  - Returns what a host serves. The plan depends on the host's capabilities, the collection-wide variables (such as C(tfserving_models)), the variables
    C(tfs_server_*) that the user set for the host, and the tunings for its tuning class.
  - The roles start with this action, so they work without an earlier play. The playbook C(tfserving.fleet.plan) plans with the same function.
  - Uses the fact C(ansible_facts.tfserving_capabilities) if the host has it. Otherwise it detects the host as M(tfserving.fleet.capability_facts) does, and
    returns the facts.
  - A host needs no detection if the inventory requests nothing that depends on the host, or if the variables C(tfs_server_*) specify everything.
options:
  for_server:
    description:
      - Whether the plan is for a server of this host. A refusal then fails the task, and C(tfs_server_state) is taken into account. A server that is stopped,
        removed or rolled back needs no plan.
    type: bool
    default: true
  tunings:
    description: Whether to take tunings into account.
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
  description:
    - Plan of the host, as P(tfserving.fleet.serving_plan#filter) returns it, with the changes from role variables and tunings. Null if nothing is planned.
  type: dict
  returned: success
  sample: {backend: docker, image: "tensorflow/serving:2.20.0"}
deployment:
  description: Identifier of this run of Ansible, C(id), which is the same on all hosts, and the time on the controller, C(at).
  type: dict
  returned: success
  sample: {id: 0242ac11-0002-9f1c-7b3e, at: "2026-03-02T10:00:00Z"}
server:
  description:
    - Values that the role P(tfserving.fleet.tfs_server#role) passes to M(tfserving.fleet.model_server). C(refusals) are texts. A host with a refusal is not
      served.
  type: dict
  returned: success
  sample: {name: digits, backend: docker, image: "tensorflow/serving:2.20.0", flags: {enable_profiler: false}, refusals: []}
"""
