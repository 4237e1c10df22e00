#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_server
short_description: Serve models, proven before they replace what serves
version_added: "0.1.0"
description:
  - Describes a whole server on a host and makes it so; or stops it, removes it, or puts the one before in its place. A server outlives the play.
  - The backend V(docker) runs an image of TensorFlow Serving on the host's container engine. It starts a candidate beside the server that serves, on loopback
    ports, and lets it pass these gates in order. The image suits this host; the server runs and knows all its flags; every wanted version is AVAILABLE; a real
    request is answered; the signature is the one that clients know; the answers agree with the reference; and it lives on after requests of wrong rank,
    wrong dtype and no rows.
  - Then the server that serves is stopped and kept, and one that is made from the proven specification takes its ports and is verified again. Whatever
    fails on the way, the old server goes on serving or comes back, and the task fails with the gate, the server's last words and what to do. A run that was
    killed is finished or undone by the next.
  - Containers are hardened unless told otherwise. They run with a read-only root, without capabilities and new privileges, not as root, behind an init,
    and publish their ports on the loopback address.
  - The backend V(embedded) is a small model server of this collection over TensorFlow's Python package. It speaks TensorFlow Serving's gRPC and REST APIs and
    takes its flags, yet it is not TensorFlow Serving, and its speed is not TensorFlow Serving's. It listens on the loopback address only.
    Where its specification changed, a candidate passes the same gates beside the server that serves, on a free port, and ends; then that server is stopped
    and the new one started. If that does not become ready, the one before it comes back.
  - A server is another one when anything of its specification changed, the content of its configuration files and the image behind its name included.
requirements:
  - "backend V(docker): Docker Engine 20.10 or later, or Podman's compatible socket (4.3 or later, also rootless), and the Python package docker, on the host"
  - "backend V(embedded): a Python with tensorflow and grpcio, on the host"
options:
  name:
    description:
      - Name of the server and of its container, 1 to 64 letters, digits, C(_), C(.) and C(-).
      - Required for a server that shall run. For the other states it is found by itself where the host has one server. Where O(deployment) is undone, all
        servers of O(state_directory) in containers go back, or none where one of them cannot.
    type: str
  state:
    description:
      - V(started) runs the server. V(stopped) ends it and keeps it. V(absent) leaves nothing of it.
      - V(proven) does all that V(started) does up to the swap, and leaves a proven candidate running beside the server that serves. The next V(started)
        swaps at once. So a playbook can take the host out of a load balancer for the swap alone. With V(embedded) nothing of the candidate stays, and
        V(started) proves once more.
      - V(previous) puts the server that served before in the place of the one that serves, and keeps that one in turn. With O(deployment) it does so only where
        the server that serves is of that deployment, so the second time it changes nothing. Without it, it changes something each time.
    type: str
    choices: [started, stopped, absent, proven, previous]
    default: started
  deployment:
    description:
      - The deployment that a server which is made now belongs to; its container carries it. A server that does not change stays of the deployment that made it.
      - With O(state=previous), the deployment to undo.
    type: dict
    suboptions:
      id:
        description: What tells this deployment from others. The same for all hosts.
        type: str
        required: true
      at:
        description: When it began, by the controller's clock, in UTC as C(2026-03-01T10:00:00Z).
        type: str
        default: ""
  backend:
    description:
      - What serves. V(auto) is V(docker) where O(image), O(release) or O(engine_socket) is given, V(embedded) otherwise.
      - A host without a container engine fails where V(docker) is meant. The embedded server does not take the place of TensorFlow Serving.
    type: str
    choices: [auto, docker, embedded]
    default: auto
  model_name:
    description: Name under which clients ask for the model; with O(model_base_path) a short form of O(models).
    type: str
  model_base_path:
    description: Absolute path of the folder that holds the model's versions, folders named by numbers.
    type: path
  samples:
    description: As in O(models), for O(model_name).
    type: path
  reference:
    description: As in O(models), for O(model_name).
    type: path
  metric_function:
    description: As in O(models), for O(model_name).
    type: path
  models:
    description: The models to serve; the whole list.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name under which clients ask for it.
        type: str
        required: true
      base_path:
        description: Absolute path of the folder that holds its versions, or an address that the server itself reads, such as C(s3://…).
        type: str
        required: true
      version_policy:
        description: Which versions are served, one of the following; the newest alone by default.
        type: dict
        suboptions:
          latest:
            description: So many of the newest.
            type: int
          specific:
            description: These.
            type: list
            elements: int
          all:
            description: All that are there.
            type: bool
      labels:
        description:
          - Versions by label, such as C(stable) and C(canary). Each must be served.
          - A label that M(tfserving.fleet.model_version) gave while the model was served stays, with its version, as long as this option does not change its
            value here. Null takes it away in the first deployment that has it.
        type: dict
        default: {}
      batching:
        description:
          - Batching parameters of this model alone, by name, which each of its versions has in C(batching_params.pbtxt), as
            M(tfserving.fleet.batching_parameters) writes it with C(per_model).
          - Where a model has them, the server batches each model by its own file, and those without are not batched.
        type: dict
      signature:
        description: The signature that the gates ask.
        type: str
        default: serving_default
      samples:
        description:
          - NumPy archive (C(.npz)) on the host with C(inputs.<name>) for each input, examples along the first axis. The gates ask for the first of them.
          - Without it a request is made up from the signature.
        type: path
      reference:
        description:
          - NumPy archive (C(.npz)) on the host with C(outputs.<name>), the right answers to O(models[].samples).
          - Without it a version that M(tfserving.fleet.model_conversion) converted is asked what it was judged by, and has to answer like its source, within
            twice the distance that the converter saw and O(tolerance).
          - Where a metric decided about the conversion, it is measured again over the examples that came along.
        type: path
      metric_function:
        description:
          - Python file on the host with the function of your own that judged the conversion, so that it judges here, too. It runs under O(python), which needs
            NumPy. Without it only the answers are compared.
        type: path
  tolerance:
    description: The largest difference from O(models[].reference), absolute below 1 and as a fraction of the right answer above.
    type: float
    default: 0.001
  accept_fragile:
    description: Accept a model that one careless request can kill; such requests are not tried then.
    type: bool
    default: false
  accept_signature_change:
    description: Accept that inputs or outputs are not the ones that clients of the server before know.
    type: bool
    default: false
  image:
    description: Image of the backend V(docker), best by digest, since a tag can move.
    type: str
  pull:
    description:
      - When O(image) is pulled. V(missing), where the host does not have it. V(never), so it fails there.
      - With V(always), an image that is named by a tag is compared with its registry in each run. Where the tag has moved, the new image is pulled and proven,
        and serves then. In check mode the digests are compared and nothing is pulled.
      - Backend V(docker) only.
    type: str
    choices: [missing, always, never]
    default: missing
  release:
    description: Release of TensorFlow Serving by which flags are checked. By default the one that the image's tag names, else the newest that is known.
    type: str
  registry_login:
    description: Login of the image's registry, where it asks for one.
    type: dict
    suboptions:
      username:
        description: The user.
        type: str
        required: true
      password:
        description: The password or token.
        type: str
        required: true
  registry_ca:
    description: Absolute path of a file on the host with the certificates (PEM) that sign the registry's. Made known to the engine for this registry.
    type: path
  engine_socket:
    description:
      - Path of the container engine's unix socket on the host. By default that of C(DOCKER_HOST), else the first that answers of Docker's and Podman's.
      - An engine of another machine (C(tcp://), C(ssh://)) cannot be used.
    type: path
  address:
    description: Address of the host on which ports are published. The embedded backend listens on the loopback address only.
    type: str
    default: 127.0.0.1
  grpc_port:
    description: Port for gRPC, 1 to 65535; V(0) chooses a free one and keeps it as long as the server exists.
    type: int
    default: 0
  rest_port:
    description: Port for REST, likewise; without it there is no REST.
    type: int
  grpc_socket_directory:
    description:
      - Absolute path of a folder on the host in which the server makes the socket C(grpc.sock), for clients on the same host. Who may enter it may ask.
      - A folder that is not there is made, for all to enter; the server's user becomes its owner.
    type: path
  network:
    description: Network of the engine that the container joins, one that publishes ports.
    type: str
    default: bridge
  flags:
    description:
      - Flags of TensorFlow Serving by name, without dashes, such as C(prefer_tflite_model). Unknown ones are refused, while a server would ignore them.
      - What other options say cannot be said again here.
      - Flags that follow from other options need not be given; batching turns C(enable_batching) on, and a model in a folder of a TensorFlow Lite
        form C(prefer_tflite_model).
      - C(enable_profiler) is false, C(max_num_load_retries) is 0 and C(num_load_threads) is 2 unless you set them. A flag with the value that it has
        anyway makes no other server.
    type: dict
    default: {}
  environment:
    description: Environment variables for the server, such as C(TF_ENABLE_ONEDNN_OPTS).
    type: dict
    default: {}
  secret_environment:
    description: Environment variables whose values are shown nowhere, such as keys of an object store. Backend V(docker) only.
    type: dict
    default: {}
  batching:
    description:
      - Batching parameters of all models, by name, as M(tfserving.fleet.batching_parameters) takes them. They are written to
        O(batching_parameters_file), which needs no task of its own then.
    type: dict
  batching_parameters_file:
    description:
      - Absolute path of a text file of batching parameters, as M(tfserving.fleet.batching_parameters) or O(batching) writes it. Turns batching on.
    type: path
  monitoring:
    description: Publish metrics for Prometheus over REST, at C(/monitoring/prometheus/metrics). Backend V(docker) only.
    type: bool
    default: false
  session_config_file:
    description: Absolute path of a text file of TensorFlow's session configuration. Backend V(docker) only, and no image of the embedded server.
    type: path
  ssl_config_file:
    description:
      - Absolute path of a text file with C(server_key), C(server_cert) and so on as PEM texts; turns TLS on for gRPC. REST has none.
      - Backend V(docker) only.
    type: path
  cpu_set:
    description: The CPUs that the server may use, such as V(0) or V(0-3,6). By default all; TensorFlow sees a CPU set, and does not see a quota.
    type: str
  memory_mib:
    description:
      - The memory that the server may use, in MiB, 64 or more, without swap. Backend V(docker) only.
      - Refused, as O(cpu_set) is, where the engine takes such a limit and forgets it, as rootless ones do.
    type: int
  devices:
    description: The GPUs that the server gets, as a plan names them (C(server.devices)). Backend V(docker) only.
    type: list
    elements: dict
    default: []
    suboptions: &devices
      pci_bus_id:
        description: Where it sits.
        type: str
        required: true
      id:
        description: What NVIDIA's tools know it by, a UUID of a GPU or of a MIG slice, or an index. By default the UUID of the GPU.
        type: str
      by:
        description: How the engine is asked for it.
        type: str
        choices: [device_request, cdi, runtime]
        default: device_request
  copies:
    description:
      - Several servers of this description instead of one, such as one for each GPU, as a plan names them (C(server.per_gpu)). Backend V(docker) only.
      - They are made so one after the other; the first that fails ends the task, and what it should replace serves on.
      - A copy that is there and not in the list any more is stopped and kept, and the server without a suffix likewise. The states V(stopped), V(absent) and
        V(previous) hold for the server and all its copies that are on the host.
    type: list
    elements: dict
    default: []
    suboptions:
      suffix:
        description: Comes behind O(name). Empty for the server that keeps it, so that one server becomes several without a second name for the first.
        type: str
        default: ""
      devices:
        description: As O(devices), for this copy.
        type: list
        elements: dict
        default: []
        suboptions: *devices
      cpu_set:
        description: As O(cpu_set), for this copy; by default O(cpu_set).
        type: str
      port_offset:
        description: How far its ports are from O(grpc_port) and O(rest_port). A port of V(0) is chosen for each copy.
        type: int
        default: 0
  user:
    description:
      - The user, UID or UID:GID, as whom the server runs. It must be able to read the models.
      - The embedded server runs as another user only where root starts it. A name is allowed for it, and the user must also be able to read O(python) and
        O(state_directory). Where the default user cannot, the user that root was reached from by C(sudo) and the owners of the models are tried.
    type: str
    default: "65534:65534"
  embedded_allow_root:
    description:
      - Whether the embedded server may run as root where no O(user) can read what it needs. A model can then read and write any file of the host, and whoever
        reaches the server's ports can make it load a model.
    type: bool
    default: false
  read_only:
    description: Whether the container's root cannot be written. Backend V(docker) only.
    type: bool
    default: true
  capabilities:
    description: Capabilities of Linux that the server keeps. Backend V(docker) only.
    type: list
    elements: str
    default: []
  restart_policy:
    description: When the engine starts the server again. Podman does not after a reboot. Backend V(docker) only.
    type: str
    choices: [unless-stopped, on-failure, "no"]
    default: unless-stopped
  log_max_mib:
    description: The largest that one file of the server's log may become, in MiB, 1 or more. Backend V(docker) only.
    type: int
    default: 10
  log_files:
    description: How many such files are kept, 1 or more; Podman keeps one. Backend V(docker) only.
    type: int
    default: 3
  side_by_side:
    description:
      - Whether the candidate is proven beside the server that serves. By default it is, unless GPUs are asked for or the host's memory is short.
      - Otherwise the server is stopped first, the new one is proven in its place, and the old one comes back where that fails.
    type: bool
  drain_s:
    description: How long to wait before the server that serves is stopped, for what is in flight, in seconds. A server that is stopped drops it.
    type: float
    default: 0
  python:
    description:
      - Python interpreter for the backend V(embedded), with the packages C(tensorflow) and C(grpcio), and for O(models[].metric_function), with C(numpy). By
        default the one that runs this module.
    type: path
  idle_exit_s:
    description: The server ends by itself after so many seconds without a request, 1 or more. For trials whose starter may be killed. Backend V(embedded) only.
    type: float
  ready_timeout_s:
    description: How long to wait until the server is ready, and for another run that changes it, in seconds, 1 or more.
    type: float
    default: 120
  state_directory:
    description: Folder for what is kept about servers, such as locks, configuration and the embedded server's logs.
    type: path
    default: /var/lib/tfserving
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  check_mode:
    description: Says what it would do and changes nothing. What a gate would refuse is told as far as it can be known without a candidate.
  diff_mode:
    description: Shows the difference of the server's specification.
    support: full
seealso:
  - module: tfserving.fleet.batching_parameters
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Serve a model with TensorFlow Serving, proven by answers that are known
  tfserving.fleet.model_server:
    name: digits
    image: tensorflow/serving:2.20.0
    address: 10.0.0.5
    grpc_port: 8500
    model_name: digits
    model_base_path: /srv/models/digits/saved_model
    samples: /srv/models/digits/samples.npz
    reference: /srv/models/digits/answers.npz

- name: Serve two versions under labels, in batches, on four CPUs
  tfserving.fleet.model_server:
    name: digits
    image: registry.example/serving@sha256:3f1c9be0d54a2a01c2f7de8a4a3a6a54f8a1f0a1c0d8f2be7f6c7f3f2c1d0e9f
    release: 2.20.0
    grpc_port: 8500
    rest_port: 8501
    monitoring: true
    models:
      - name: digits
        base_path: /srv/models/digits/saved_model
        version_policy:
          specific: [1, 2]
        labels:
          stable: 1
          canary: 2
    batching_parameters_file: /etc/tfserving/batching.pbtxt
    cpu_set: 0-3
    memory_mib: 4096

- name: Serve on each GPU, on ports 8500, 8502 and so on
  tfserving.fleet.model_server:
    name: digits
    image: tensorflow/serving:2.20.0-gpu
    grpc_port: 8500
    model_name: digits
    model_base_path: /srv/models/digits/saved_model
    copies: "{{ tfs_capabilities_plan_result.plan.server.per_gpu }}"

- name: Prove the successor, and leave the server that serves alone
  tfserving.fleet.model_server:
    name: digits
    state: proven
    image: tensorflow/serving:2.20.0
    model_name: digits
    model_base_path: /srv/models/digits/saved_model
  register: proven

- name: Serve as before the last change
  tfserving.fleet.model_server:
    name: digits
    state: previous

- name: Undo a deployment where it arrived
  tfserving.fleet.model_server:
    state: previous
    deployment:
      id: monday

- name: Serve with the embedded server, on ports that are free
  tfserving.fleet.model_server:
    name: digits
    backend: embedded
    python: /opt/tensorflow/bin/python
    model_name: digits
    model_base_path: /srv/models/digits/saved_model
    rest_port: 0

- name: Serve no more
  tfserving.fleet.model_server:
    name: digits
    state: absent
"""

RETURN = r"""
server:
  description: >-
    The server; the first one of several. What does not apply to the backend or the state is null. In check mode C(pid) is null where the server is not
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
      sample: docker
    state:
      description: The state that was asked for.
      type: str
      sample: started
    pid:
      description: The embedded server's process.
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
      description: Path of its log, or the command that shows it.
      type: str
      sample: docker logs digits
    version:
      description: Version of the embedded server's program, which is that of the collection.
      type: str
      sample: null
    image:
      description: The image that it was started from.
      type: str
      sample: tensorflow/serving:2.20.0
    gap_s:
      description: For how long nothing answered on its port while it was replaced, in seconds; null where nothing was replaced.
      type: float
      sample: 2.31
    judged:
      description:
        - The metric of each converted form that the candidate was judged by, by the model's name, over the C(examples) that came along with the version;
          C(source) and C(converted) where it was converted, C(served) here. Empty where none was measured.
      type: dict
      sample: {digits: {metric: accuracy, examples: 256, source: 0.98, converted: 0.98, served: 0.98}}
    deployment:
      description: The deployment that made the container of the backend V(docker) that serves; null where none was named.
      type: str
      sample: 3f1c9be0-54a2
    model_config_file:
      description: Path of the file on the host that lists the server's models, for O(tfserving.fleet.model_version#module:config_file).
      type: str
      sample: /var/lib/tfserving/servers/digits/config/3f1c9be0d54a2a01/models.pbtxt
    specification_digest:
      description: Changes with anything that makes the server another one.
      type: str
      sample: 3f1c9be0d54a2a01c2f7de8a4a3a6a54f8a1f0a1c0d8f2be7f6c7f3f2c1d0e9f
servers:
  description: The server, or all copies of it, those that were stopped because they are not wanted any more among them; each with the keys of RV(server).
  returned: success
  type: list
  elements: dict
  sample: [{name: digits, backend: docker, state: started, address: 127.0.0.1, grpc_port: 8500, rest_port: 8501, image: "tensorflow/serving:2.20.0"}]
summary:
  description: A line about each of RV(servers).
  returned: success
  type: list
  elements: str
  sample: ["digits: started, gRPC 127.0.0.1:8500 (docker)"]
pending:
  description: Whether V(started) would change what serves.
  returned: with O(state=proven)
  type: bool
  sample: true
actions:
  description: What was, or in check mode would be, done.
  returned: success
  type: list
  elements: str
  sample: [start a candidate beside it, prove it, make the server from the proven specification]
"""

from ansible_collections.tfserving.fleet.plugins.module_utils._core import shell
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import backends


def embedded_backend():
    from ansible_collections.tfserving.fleet.plugins.module_utils._embedded import backend

    return backend


def main():
    model = {
        "name": {"type": "str", "required": True},
        "base_path": {"type": "str", "required": True},
        "version_policy": {
            "type": "dict",
            "options": {
                "latest": {"type": "int"},
                "specific": {"type": "list", "elements": "int"},
                "all": {"type": "bool"},
            },
        },
        "labels": {"type": "dict", "default": {}},
        "batching": {"type": "dict"},
        "signature": {"type": "str", "default": "serving_default"},
        "samples": {"type": "path"},
        "reference": {"type": "path"},
        "metric_function": {"type": "path"},
    }
    devices = {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "pci_bus_id": {"type": "str", "required": True},
            "id": {"type": "str"},
            "by": {"type": "str", "choices": ["device_request", "cdi", "runtime"], "default": "device_request"},
        },
    }
    copy = {
        "suffix": {"type": "str", "default": ""},
        "devices": devices,
        "cpu_set": {"type": "str"},
        "port_offset": {"type": "int", "default": 0},
    }
    module = shell.FleetModule(
        argument_spec={
            "name": {"type": "str"},
            "state": {
                "type": "str",
                "choices": ["started", "stopped", "absent", "proven", "previous"],
                "default": "started",
            },
            "deployment": {
                "type": "dict",
                "options": {"id": {"type": "str", "required": True}, "at": {"type": "str", "default": ""}},
            },
            "backend": {"type": "str", "choices": ["auto", "docker", "embedded"], "default": "auto"},
            "model_name": {"type": "str"},
            "model_base_path": {"type": "path"},
            "samples": {"type": "path"},
            "reference": {"type": "path"},
            "metric_function": {"type": "path"},
            "models": {"type": "list", "elements": "dict", "options": model},
            "tolerance": {"type": "float", "default": 0.001},
            "accept_fragile": {"type": "bool", "default": False},
            "accept_signature_change": {"type": "bool", "default": False},
            "image": {"type": "str"},
            "pull": {"type": "str", "choices": ["missing", "always", "never"], "default": "missing"},
            "release": {"type": "str"},
            "registry_login": {
                "type": "dict",
                "options": {
                    "username": {"type": "str", "required": True},
                    "password": {"type": "str", "required": True, "no_log": True},
                },
            },
            "registry_ca": {"type": "path"},
            "engine_socket": {"type": "path"},
            "address": {"type": "str", "default": "127.0.0.1"},
            "grpc_port": {"type": "int", "default": 0},
            "rest_port": {"type": "int"},
            "grpc_socket_directory": {"type": "path"},
            "network": {"type": "str", "default": "bridge"},
            "flags": {"type": "dict", "default": {}},
            "environment": {"type": "dict", "default": {}},
            "secret_environment": {"type": "dict", "default": {}, "no_log": True},
            "batching": {"type": "dict"},
            "batching_parameters_file": {"type": "path"},
            "monitoring": {"type": "bool", "default": False},
            "session_config_file": {"type": "path"},
            "ssl_config_file": {"type": "path"},
            "cpu_set": {"type": "str"},
            "memory_mib": {"type": "int"},
            "devices": devices,
            "copies": {"type": "list", "elements": "dict", "default": [], "options": copy},
            "user": {"type": "str", "default": "65534:65534"},
            "embedded_allow_root": {"type": "bool", "default": False},
            "read_only": {"type": "bool", "default": True},
            "capabilities": {"type": "list", "elements": "str", "default": []},
            "restart_policy": {
                "type": "str",
                "choices": ["unless-stopped", "on-failure", "no"],
                "default": "unless-stopped",
            },
            "log_max_mib": {"type": "int", "default": 10},
            "log_files": {"type": "int", "default": 3},
            "side_by_side": {"type": "bool"},
            "drain_s": {"type": "float", "default": 0},
            "python": {"type": "path"},
            "idle_exit_s": {"type": "float"},
            "ready_timeout_s": {"type": "float", "default": 120},
            "state_directory": {"type": "path", "default": "/var/lib/tfserving"},
        },
        required_if=[("state", "started", ("name",)), ("state", "proven", ("name",))],
        mutually_exclusive=[("models", "model_name"), ("models", "model_base_path")],
        required_together=[("model_name", "model_base_path")],
        supports_check_mode=True,
    )
    shell.run(module, lambda: backends.work(module.params, module.check_mode, embedded_backend))


if __name__ == "__main__":
    main()
