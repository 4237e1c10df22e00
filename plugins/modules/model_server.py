#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_server
short_description: Start and stop a model server
version_added: "0.1.0"
description:
  - Runs a server for one model, or ends it. A server that was started outlives the play and Ansible's connection.
  - The backend V(embedded) is a small model server of this collection over TensorFlow's Python package. It speaks TensorFlow Serving's gRPC and REST APIs and
    takes its flags, yet it is not TensorFlow Serving, and its speed is not TensorFlow Serving's. It listens on the loopback address only.
  - A server is started again when its specification changed, the content of its batching parameters included. If the new one does not become ready, the one
    before it is started again and the task fails with what the new one said.
  - The task ends when the server listens, and it listens once its model is loaded.
options:
  name:
    description: Name of the server on its host, 1 to 64 letters, digits, C(_), C(.) and C(-).
    type: str
    required: true
  state:
    description: Whether the server runs (V(started)), or does not and is forgotten with its log (V(absent)).
    type: str
    choices: [started, absent]
    default: started
  backend:
    description: What serves.
    type: str
    choices: [embedded]
    default: embedded
  python:
    description: Python interpreter for the server, with the packages C(tensorflow) and C(grpcio). By default the one that runs this module.
    type: path
  model_name:
    description: Name under which clients ask for the model. Required with O(state=started).
    type: str
  model_base_path:
    description: Absolute path of the folder that holds the model's versions, folders named by numbers. Required with O(state=started).
    type: path
  grpc_port:
    description: Port for gRPC, 1 to 65535; V(0) chooses a free one and keeps it as long as the server exists.
    type: int
    default: 0
  rest_port:
    description: Port for REST, likewise; without it there is no REST.
    type: int
  flags:
    description:
      - Flags of TensorFlow Serving by name, without dashes, such as C(prefer_tflite_model). Unknown ones are refused, while a server would ignore them.
      - What O(grpc_port), O(rest_port), O(model_name), O(model_base_path) and O(batching_parameters_file) say cannot be said again here.
    type: dict
    default: {}
  environment:
    description: Environment variables for the server, such as C(TF_ENABLE_ONEDNN_OPTS).
    type: dict
    default: {}
  cpu_set:
    description: The CPUs that the server may use, such as V(0) or V(0-3,6). By default all that Ansible's process may use.
    type: str
  batching_parameters_file:
    description: Absolute path of a text file of batching parameters, as M(tfserving.fleet.batching_parameters) writes it. Turns batching on.
    type: path
  idle_exit_s:
    description: The server ends by itself after so many seconds without a request, 1 or more. For trials whose starter may be killed.
    type: float
  ready_timeout_s:
    description: How long to wait until the server is ready, in seconds, 1 or more.
    type: float
    default: 120
  state_directory:
    description: Folder for what is kept about servers, such as logs.
    type: path
    default: /var/lib/tfserving
attributes:
  action_group:
    description: Belongs to the action group C(tfserving.fleet.fleet).
    support: full
    membership:
      - tfserving.fleet.fleet
  check_mode:
    description: Says what it would do and changes nothing.
    support: full
  diff_mode:
    description: Shows the difference of the server's specification.
    support: full
  platform:
    description: Target systems.
    platforms: linux
    support: full
seealso:
  - module: tfserving.fleet.batching_parameters
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Serve a model on ports that are free
  tfserving.fleet.model_server:
    name: digits
    python: /opt/tensorflow/bin/python
    model_name: digits
    model_base_path: /srv/models/digits/saved_model
    rest_port: 0
  register: digits

- name: Serve it in batches, on one CPU
  tfserving.fleet.model_server:
    name: digits-batched
    python: /opt/tensorflow/bin/python
    model_name: digits
    model_base_path: /srv/models/digits/saved_model
    grpc_port: 8500
    batching_parameters_file: /etc/tfserving/batching.pbtxt
    cpu_set: "0"
    flags:
      tensorflow_intra_op_parallelism: 1
    environment:
      TF_ENABLE_ONEDNN_OPTS: "0"

- name: Serve no more
  tfserving.fleet.model_server:
    name: digits
    state: absent
"""

RETURN = r"""
server:
  description: >-
    The server. With O(state=absent) only C(name), C(backend) and C(state) are not null. In check mode C(pid) is null where the server is not
    running yet, and a port that is still to be chosen may become another.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: digits
    backend:
      description: What serves.
      type: str
      sample: embedded
    state:
      description: V(started) or V(absent).
      type: str
      sample: started
    pid:
      description: Its process.
      type: int
      sample: 4711
    address:
      description: Where it listens.
      type: str
      sample: 127.0.0.1
    grpc_port:
      description: Its port for gRPC.
      type: int
      sample: 8500
    rest_port:
      description: Its port for REST, or null.
      type: int
      sample: 8501
    log:
      description: Path of its log.
      type: str
      sample: /var/lib/tfserving/servers/digits/server.log
    version:
      description: Version of the server's program; for V(embedded) that of the collection.
      type: str
      sample: 0.1.0
    specification_digest:
      description: Changes with anything that makes the server another one.
      type: str
      sample: 3f1c9be0d54a2a01c2f7de8a4a3a6a54f8a1f0a1c0d8f2be7f6c7f3f2c1d0e9f
actions:
  description: What was, or in check mode would be, done.
  returned: success
  type: list
  elements: str
  sample: [start the server digits]
"""

import os
import sys

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.common.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils.common.options import bounded
from ansible_collections.tfserving.fleet.plugins.module_utils.common.shell import run
from ansible_collections.tfserving.fleet.plugins.module_utils.common.version import VERSION
from ansible_collections.tfserving.fleet.plugins.module_utils.server import process
from ansible_collections.tfserving.fleet.plugins.module_utils.server import specification as specifications


def work(module):
    options = module.params
    home = process.Home(options["state_directory"], specifications.check_name(options["name"]))
    apply = _started if options["state"] == "started" else _absent
    with home.locked(create=options["state"] == "started" and not module.check_mode):
        return apply(home, options, module.check_mode)


def _started(home, options, check_mode):
    bounded("ready_timeout_s", options["ready_timeout_s"], 1, unit="s")
    asked = specifications.check(_specification(options, check_mode))
    process.refuse_foreign_cpus(asked)
    before, pid = home.last_started(), home.process()
    wanted = process.choose_ports(asked, before)
    decision = specifications.decide_started(wanted, before, pid is not None)
    if decision.changed:
        process.refuse_used_ports(wanted, own=(before.grpc_port, before.rest_port) if pid else ())
    if not check_mode:
        if decision.changed:
            _replace(home, before if pid else None, wanted, options["ready_timeout_s"])
        else:
            home.wait_until_ready(wanted, options["ready_timeout_s"])
    return decision.result(server=_server(home, options, wanted, None if check_mode and decision.changed else home.process()))


def _absent(home, options, check_mode):
    decision = specifications.decide_absent(home.name, home.last_started(), home.process() is not None)
    if not check_mode:
        home.stop()
        home.remove()
    return decision.result(server=_server(home, options))


def _replace(home, before, wanted, ready_timeout_s):
    """Stop the server of the specification before, if there is one, and start the wanted one; when that fails, the one before runs again."""
    home.stop()
    try:
        home.start(wanted, ready_timeout_s)
    except FleetError as fault:
        home.stop()
        if before is None:
            raise
        try:
            home.start(before, ready_timeout_s)
        except FleetError as second:
            raise FleetError(fault.what, fault.where, f"{fault.remedy} The server before it could not be started again either: {second.what}.") from second
        raise FleetError(fault.what, fault.where, f"{fault.remedy} The server before it runs again.") from fault


def _specification(options, check_mode):
    batching = options["batching_parameters_file"]
    # In check mode a task before this one may only have said that it would write the file.
    readable = batching and not (check_mode and not os.path.exists(batching))
    return specifications.Specification(
        name=options["name"], backend=options["backend"], address=specifications.ADDRESS, grpc_port=options["grpc_port"], rest_port=options["rest_port"],
        python=options["python"] or sys.executable, program=process.program_digest(), model_name=options["model_name"],
        model_base_path=options["model_base_path"], flags=options["flags"], environment={key: str(value) for key, value in options["environment"].items()},
        cpu_set=options["cpu_set"], batching_parameters_file=batching, idle_exit_s=options["idle_exit_s"],
        batching_parameters=process.digest_of_file(batching, "batching_parameters_file") if readable else None)


def _server(home, options, specification=None, pid=None):
    server = dict.fromkeys(("pid", "address", "grpc_port", "rest_port", "log", "version", "specification_digest"))
    server.update(name=options["name"], backend=options["backend"], state=options["state"])
    if specification:
        server.update(pid=pid, address=specification.address, grpc_port=specification.grpc_port, rest_port=specification.rest_port, log=home.log,
                      version=VERSION, specification_digest=specification.digest())
    return server


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["started", "absent"], "default": "started"},
            "backend": {"type": "str", "choices": list(specifications.BACKENDS), "default": "embedded"},
            "python": {"type": "path"},
            "model_name": {"type": "str"},
            "model_base_path": {"type": "path"},
            "grpc_port": {"type": "int", "default": 0},
            "rest_port": {"type": "int"},
            "flags": {"type": "dict", "default": {}},
            "environment": {"type": "dict", "default": {}},
            "cpu_set": {"type": "str"},
            "batching_parameters_file": {"type": "path"},
            "idle_exit_s": {"type": "float"},
            "ready_timeout_s": {"type": "float", "default": 120},
            "state_directory": {"type": "path", "default": "/var/lib/tfserving"},
        },
        required_if=[("state", "started", ("model_name", "model_base_path"))],
        supports_check_mode=True)
    run(module, lambda: work(module))


if __name__ == "__main__":
    main()
