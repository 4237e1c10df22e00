#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_server_info
short_description: Return which model servers run on a host, and how
version_added: "0.1.0"
description:
  - Describes the servers that M(tfserving.fleet.model_server) started, so a playbook can compare them with a plan.
  - The description is the same from run to run as long as nothing changes. Volatile state is returned only with O(ask=true).
options:
  ask:
    description: Also send requests to the running servers, and return what they serve in RV(asked).
    type: bool
    default: false
  engine_socket:
    description:
      - Path of the container engine's unix socket on the host. By default the one in C(DOCKER_HOST), otherwise the first socket of Docker or Podman that
        answers.
      - An engine on another machine (C(tcp://), C(ssh://)) cannot be used.
    type: path
  state_directory:
    description: Folder for the state of servers, as in O(tfserving.fleet.model_server#module:state_directory).
    type: path
    default: /var/lib/tfserving
extends_documentation_fragment:
  - tfserving.fleet.attributes
seealso:
  - module: tfserving.fleet.model_server
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Read what the host serves now
  tfserving.fleet.model_server_info:
  register: running

- name: Query the servers and fail if they serve something else than desired
  tfserving.fleet.model_server_info:
    ask: true
  register: served
  failed_when: >-
    (served.servers | rejectattr('state', 'eq', 'started') | list + served.asked | rejectattr('answers') | list
    + served.asked | map(attribute='models') | flatten | map(attribute='drift') | flatten) | length > 0

- name: Show the names of the running servers
  ansible.builtin.debug:
    msg: "{{ running.servers | selectattr('state', 'eq', 'started') | map(attribute='name') | join(', ') }}"
"""

RETURN = r"""
unseen:
  description:
    - Why the servers in containers cannot be seen. They are then not in RV(servers). Null if all servers can be seen.
    - Possible reasons are that this account may not use the engine's socket, that its Python has no Docker SDK, or that the engine does not answer.
    - Without an engine that answers, it is null unless O(engine_socket) or C(DOCKER_HOST) names one, or O(state_directory) has configurations of containers.
  returned: success
  type: str
  sample: "servers in containers cannot be seen: /var/run/docker.sock: permission denied"
unfinished:
  description:
    - Names of servers in containers of O(state_directory) that a killed run left in the middle of a change. The next run of M(tfserving.fleet.model_server)
      finishes it.
  returned: success
  type: list
  elements: str
  sample: []
last_attempt:
  description:
    - The last deployment that changed a server of O(state_directory) or failed there, as C(id) and C(at), or null.
    - If no server has this C(deployment), the deployment failed, was killed or was rolled back, its servers were removed, or its server is embedded.
      Embedded servers do not record their deployment.
  returned: success
  type: dict
  sample: {id: monday, at: "2026-03-02T10:00:00Z"}
servers:
  description: Servers on the host, by name.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: Name of the server., type: str, sample: digits}
    backend: {description: Backend that serves., type: str, sample: embedded}
    state: {description: V(started) or V(stopped)., type: str, sample: started}
    image: {description: Name of the image. Null without a container., type: str, sample: "tensorflow/serving:2.20.0"}
    models:
      description: For each model C(name), C(form) (its variant, null if its folder does not show it), C(base_path), C(batching) (its parameters or null;
        missing if each model has its own file), C(labels) and C(version_policy).
      type: list
      elements: dict
      sample:
        - name: digits
          form: tflite_dynamic_range
          base_path: /srv/models/digits/tflite_dynamic_range
          batching: null
          labels: {}
          version_policy: null
    flags: {description: "Requested flags, without those for ports, models and batching.", type: dict, sample: {prefer_tflite_model: true}}
    environment: {description: Requested environment variables., type: dict, sample: {TF_ENABLE_ONEDNN_OPTS: "0"}}
    cpu_set: {description: CPUs that it may use. Null for all., type: str, sample: null}
    devices: {description: "GPUs of the server, C(pci_bus_id) and C(by).", type: list, elements: dict, sample: []}
    address: {description: Address on which it listens., type: str, sample: 127.0.0.1}
    grpc_port: {description: Port for gRPC., type: int, sample: 8500}
    rest_port: {description: Port for REST. Null without REST., type: int, sample: 8501}
    copy_of: {description: "Name of the server without its suffix, if it is a replica (O(tfserving.fleet.model_server#module:copies)). Null otherwise.",
              type: str, sample: null}
    deployment: {description: "Deployment that made the current container, C(id) and C(at).
                               Null if the container records none, and for servers of another state directory.",
                 type: dict, sample: {id: monday, at: "2026-03-02T10:00:00Z"}}
    previous_deployment: {description: Deployment of the server that is kept for a rollback., type: dict, sample: null}
    tls: {description: "Whether gRPC uses TLS, with a container.", type: bool, sample: false}
asked:
  description: Answers of the running servers, by name. A server that is stopped, or crashed, is only in RV(servers).
  returned: with O(ask=true)
  type: list
  elements: dict
  contains:
    name: {description: Name of the server., type: str, sample: digits}
    answers: {description: Whether it answered., type: bool, sample: true}
    reason: {description: Why it did not answer., type: str, sample: null}
    models:
      description:
        - For each model C(name), C(wanted) (versions in its folder that its policy selects), C(served) (C(version), C(state), C(error)), C(drift) (differences,
          as sentences), and C(signatures), its metadata.
      type: list
      elements: dict
      sample:
        - name: digits
          wanted: [1]
          served: [{version: 1, state: AVAILABLE, error: null}]
          drift: []
          signatures:
            serving_default:
              inputs: {image: {dtype: float32, shape: [null, 8, 8, 1]}}
              outputs: {output_0: {dtype: float32, shape: [null, 10]}}
    metrics:
      description:
        - C(requests) by model and status, and C(batching), both since the server started.
        - C(batching) has C(batches), C(mean_request_rows), C(mean_batch_rows), C(mean_queuing_us) and C(padded_rows).
        - Null if the server publishes no metrics.
      type: dict
      sample: {requests: {digits: {OK: 120}}, batching: {batches: 40, mean_request_rows: 1.0, mean_batch_rows: 3.0, mean_queuing_us: 812.4, padded_rows: 0}}
"""

import glob
import os

from ansible_collections.tfserving.fleet.plugins.module_utils._core.shell import FleetModule, run
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import attempts, current_servers


def work(module):
    """Return the module's result."""
    folders = os.path.join(module.params["state_directory"], "servers", "*")
    embedded = current_servers.embedded(module.params["state_directory"])
    contained, unseen, unfinished = current_servers.in_containers(
        module.params["engine_socket"], are_known=bool(glob.glob(os.path.join(folders, "config")))
    )
    # Deployments of another state directory are not finished or undone from here.
    own = {os.path.basename(path) for path in glob.glob(folders)}
    unfinished = [name for name in unfinished if name in own]
    for server in contained:
        if server["name"] not in own:
            server["deployment"] = server["previous_deployment"] = None
    servers = sorted(embedded + contained, key=lambda server: (server["name"], server["backend"]))
    result = {
        "changed": False,
        "servers": servers,
        "unseen": unseen,
        "unfinished": unfinished,
        "last_attempt": attempts.last(module.params["state_directory"]),
    }
    if module.params["ask"]:  # Importing the clients would take most of the time of calls that do not need them.
        from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import server_answers

        result["asked"] = [server_answers.asked(server) for server in servers if server["state"] == "started"]
    return result


def main():
    module = FleetModule(
        argument_spec={
            "ask": {"type": "bool", "default": False},
            "engine_socket": {"type": "path"},
            "state_directory": {"type": "path", "default": "/var/lib/tfserving"},
        },
        supports_check_mode=True,
    )
    run(module, lambda: work(module))


if __name__ == "__main__":
    main()
