#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_server
short_description: Deploy a model server, replacing the current one only after the new one is verified
version_added: "0.1.0"
description:
  - Describes the desired server on a host, and creates or replaces the server to match; or stops it, removes it, or restores the server before it. A server
    keeps running after the play.
  - The backend V(docker) runs an image of TensorFlow Serving on the host's container engine. The module starts a candidate alongside the current server, on
    loopback ports, and makes these checks in order. The image suits this host; the server runs and knows all its flags; every requested version is AVAILABLE; a
    real request gets an answer; a server with GPUs uses them; the signature is the one that clients know; the answers agree with the reference; and the server
    survives requests with a wrong rank, with a wrong dtype and with no rows.
  - Then the module stops and keeps the current server. A new server from the verified specification takes its ports and is verified again. If any step fails,
    the old server continues to serve or comes back, and the task fails with the failed check, the failure diagnosis and what to do. The next run completes or
    undoes what a killed run left.
  - By default, containers are hardened. They run with a read-only root file system, without capabilities or new privileges, not as root, and with an init
    process. They publish their ports on the loopback address.
  - The backend V(embedded) is a small model server of this collection on top of TensorFlow's Python package. It speaks TensorFlow Serving's gRPC and REST APIs
    and takes its flags, but it is not TensorFlow Serving, and its speed is not that of TensorFlow Serving. It listens only on the loopback address. If its
    specification changed, a candidate must pass the same checks alongside the current server, on a free port. Then the module ends the candidate, stops the
    current server and starts the new one. If the new one does not become ready, the old one comes back.
  - The module replaces the server if any part of its specification changed. This includes the content of its configuration files and the image that its name
    refers to.
requirements:
  - "backend V(docker): Docker Engine 20.10 or later, or Podman's compatible socket (4.3 or later, also rootless), and the Python package docker, on the host"
  - "backend V(embedded): a Python with tensorflow and grpcio, on the host"
options:
  name:
    description:
      - Name of the server and of its container, 1 to 64 letters, digits, C(_), C(.) and C(-).
      - Required for V(started) and V(proven). For the other states the module finds the server if the host has only one. When it undoes an O(deployment), it
        restores all servers of O(state_directory) in containers, or none if one of them cannot be restored.
    type: str
  state:
    description:
      - V(started) runs the server. V(stopped) stops it and keeps it. V(absent) removes everything of it.
      - V(proven) does all that V(started) does before the swap, and leaves a verified candidate running alongside the current server. The next V(started) swaps
        at once. A playbook can therefore take the host out of a load balancer for the swap only. With V(embedded), the candidate does not stay, and V(started)
        verifies once more.
      - V(previous) replaces the current server with the previous one, and keeps the current one in turn. With O(deployment), it does so only if that
        deployment made the current server, so a second run changes nothing. Without it, each run changes something.
    type: str
    choices: [started, stopped, absent, proven, previous]
    default: started
  deployment:
    description:
      - Deployment that makes the server. Its container records it. A server that does not change keeps the deployment that made it.
      - With O(state=previous), the deployment to undo.
    type: dict
    suboptions:
      id:
        description: Identifier of the deployment, the same for all hosts.
        type: str
        required: true
      at:
        description: Time when it began, by the controller's clock, in UTC as C(2026-03-01T10:00:00Z).
        type: str
        default: ""
  backend:
    description:
      - Backend that serves. V(auto) is V(docker) if O(image), O(release) or O(engine_socket) is given, V(embedded) otherwise.
      - V(docker) fails on a host without a container engine. The embedded server does not replace TensorFlow Serving there.
      - Each backend refuses, in every O(state), a name whose server runs with the other one, so nothing is replaced or removed by mistake. To change the
        backend of a server, first remove it with the backend that it has.
    type: str
    choices: [auto, docker, embedded]
    default: auto
  model_name:
    description: Name of the model for clients. With O(model_base_path) a short form of O(models).
    type: str
  model_base_path:
    description: Absolute path of the folder with the model's versions, which are folders named by numbers.
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
    description: All models to serve.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the model for clients.
        type: str
        required: true
      base_path:
        description: Absolute path of the folder with its versions, or an address that the server itself reads, such as C(s3://…).
        type: str
        required: true
      version_policy:
        description: Versions to serve, one of the following. The default is the newest version only.
        type: dict
        suboptions:
          latest:
            description: Number of the newest versions to serve.
            type: int
          specific:
            description: Versions to serve.
            type: list
            elements: int
          all:
            description: Whether to serve all versions in the folder.
            type: bool
      labels:
        description:
          - Versions by label, such as C(stable) and C(canary). Each version must be served.
          - A label from M(tfserving.fleet.model_version) stays, with its version, as long as its value in this option does not change. Null removes it in the
            first deployment that has the null.
        type: dict
        default: {}
      batching:
        description:
          - Batching parameters of this model, by name. Each of its versions must have them in C(batching_params.pbtxt), as
            M(tfserving.fleet.batching_parameters) writes it with C(per_model).
          - If any model has them, the server batches each model by its own file and does not batch models without one.
        type: dict
      signature:
        description: Signature that the checks use.
        type: str
        default: serving_default
      samples:
        description:
          - NumPy archive (C(.npz)) on the host with C(inputs.<name>) for each input, examples along the first axis. The checks send the first of them.
          - Without it, the module generates a request from the signature.
        type: path
      reference:
        description:
          - NumPy archive (C(.npz)) on the host with C(outputs.<name>), the correct answers to O(models[].samples).
          - Without it, a version that M(tfserving.fleet.model_conversion) converted gets the examples of its conversion. It must give the answers of its
            source, within twice the distance that the converter measured and O(tolerance).
          - If a metric decided about the conversion, the module evaluates it again on these examples.
        type: path
      metric_function:
        description:
          - Python file on the host with your own metric function that decided about the conversion, to evaluate it here again. It runs under O(python), which
            needs NumPy. Without it, the module only compares the answers.
        type: path
  tolerance:
    description: Largest difference from O(models[].reference), absolute for values below 1 and relative above.
    type: float
    default: 0.001
  accept_fragile:
    description: Accept a model that one malformed request can end. The module then sends no malformed requests.
    type: bool
    default: false
  accept_signature_change:
    description:
      - Accept that a signature of the current server, which clients know, is missing or has other inputs or outputs.
      - All signatures are compared, not only O(models[].signature). A TensorFlow Lite file has only one. If it replaces a
        SavedModel with several signatures, it usually needs this option. A signature does not count as missing if the new model offers the same inputs and
        outputs under another name.
    type: bool
    default: false
  image:
    description: Image of the backend V(docker), preferably by digest, since a tag can be moved to another image.
    type: str
  pull:
    description:
      - When to pull O(image). V(missing) pulls it if the host does not have it. V(never) fails then.
      - V(always) compares an image named by a tag with its registry in each run. If the tag was moved, the module pulls the new image, verifies it and serves
        with it. Check mode compares the digests and pulls nothing.
      - Backend V(docker) only.
    type: str
    choices: [missing, always, never]
    default: missing
  release:
    description:
      - Release of TensorFlow Serving for the check of flags. By default the release in the image's tag, otherwise the newest known release.
      - The tag of an image that is not official counts only if its release is known.
    type: str
  registry_login:
    description: Login for the image's registry, if it needs one.
    type: dict
    suboptions:
      username:
        description: User name.
        type: str
        required: true
      password:
        description: Password or token.
        type: str
        required: true
  registry_ca:
    description:
      - Absolute path of a file on the host with the CA certificates (PEM) of the registry. The module installs it in the engine's configuration for this
        registry.
    type: path
  engine_socket:
    description:
      - Path of the container engine's unix socket on the host. By default the one in C(DOCKER_HOST), otherwise the first socket of Docker or Podman that
        answers.
      - An engine on another machine (C(tcp://), C(ssh://)) cannot be used.
    type: path
  address:
    description: Address of the host on which ports are published. The embedded backend listens only on the loopback address.
    type: str
    default: 127.0.0.1
  grpc_port:
    description: Port for gRPC, 1 to 65535. V(0) chooses a free port and keeps it as long as the server exists.
    type: int
    default: 0
  rest_port:
    description: Port for REST, 1 to 65535. V(0) chooses a free port and keeps it as long as the server exists. Without it, the server has no REST API.
    type: int
  grpc_socket_directory:
    description:
      - Absolute path of a folder on the host in which the server creates the socket C(grpc.sock), for clients on the same host. Every account that can enter
        the folder can use the server.
      - The module creates a missing folder, which all accounts can enter. The server's user becomes its owner.
    type: path
  network:
    description: Network of the engine that the container joins. It must publish ports.
    type: str
    default: bridge
  flags:
    description:
      - Flags of TensorFlow Serving by name, without dashes, such as C(prefer_tflite_model). Unknown flags are refused, because a server would ignore them.
      - Flags that other options set cannot be given here.
      - Some flags follow from other options. Batching turns C(enable_batching) on, and a model in a folder of a TensorFlow Lite variant turns
        C(prefer_tflite_model) on.
      - C(enable_profiler) is false, C(max_num_load_retries) is 0 and C(num_load_threads) is 2 unless you set them. A flag that is set to the value it has
        anyway does not change the server.
    type: dict
    default: {}
  environment:
    description: Environment variables of the server, such as C(TF_ENABLE_ONEDNN_OPTS).
    type: dict
    default: {}
  secret_environment:
    description: Environment variables whose values are not shown anywhere, such as keys of an object store. Backend V(docker) only.
    type: dict
    default: {}
  batching:
    description:
      - Batching parameters of all models, by name, as in M(tfserving.fleet.batching_parameters). The module writes them to O(batching_parameters_file), which
        then needs no task of its own.
    type: dict
  batching_parameters_file:
    description: Absolute path of a text file with batching parameters, as M(tfserving.fleet.batching_parameters) or O(batching) writes it. Turns batching on.
    type: path
  monitoring:
    description: Publish metrics for Prometheus over REST, at C(/monitoring/prometheus/metrics). Backend V(docker) only.
    type: bool
    default: false
  session_config_file:
    description: Absolute path of a text file with TensorFlow's session configuration. Backend V(docker) only, and not with an image of the embedded server.
    type: path
  ssl_config_file:
    description:
      - Absolute path of a text file with C(server_key), C(server_cert) and so on as PEM texts. Turns TLS on for gRPC. REST has no TLS.
      - Backend V(docker) only.
    type: path
  cpu_set:
    description: CPUs that the server may use, such as V(0) or V(0-3,6). By default all. TensorFlow adapts to a CPU set, but not to a CPU quota.
    type: str
  memory_mib:
    description:
      - Memory that the server may use, in MiB, 64 or more, without swap. Backend V(docker) only.
      - This limit and O(cpu_set) are refused if the engine accepts such a limit but does not apply it, as rootless engines can.
    type: int
  devices:
    description: GPUs of the server, as a plan returns them (C(server.devices)). Backend V(docker) only.
    type: list
    elements: dict
    default: []
    suboptions: &devices
      pci_bus_id:
        description: PCI bus ID of the GPU.
        type: str
        required: true
      id:
        description: Identifier of the GPU in NVIDIA's tools, the UUID of a GPU or of a MIG slice, or an index. By default the UUID of the GPU.
        type: str
      by:
        description: How the module requests the GPU from the engine.
        type: str
        choices: [device_request, cdi, runtime]
        default: device_request
  copies:
    description:
      - Replicas of the server, such as one for each GPU, as a plan returns them (C(server.per_gpu)). Backend V(docker) only.
      - The module handles one replica after the other. The first failure ends the task, and the server that this replica would replace continues to serve.
      - A replica that is not in the list any more is stopped and kept, and so is the server without a suffix. The states V(stopped), V(absent) and V(previous)
        apply to the server and to all its replicas on the host.
    type: list
    elements: dict
    default: []
    suboptions:
      suffix:
        description: Suffix of O(name). Empty for the replica that keeps the name, so that the first replica can take over from a single server.
        type: str
        default: ""
      devices:
        description: GPUs of this replica, as in O(devices).
        type: list
        elements: dict
        default: []
        suboptions: *devices
      cpu_set:
        description: CPUs of this replica, as in O(cpu_set). The default is O(cpu_set).
        type: str
      port_offset:
        description: Number to add to O(grpc_port) and O(rest_port). If a port is V(0), the module chooses one for each replica.
        type: int
        default: 0
  user:
    description:
      - User, UID or UID:GID, that the server runs as. It must be able to read the models.
      - The embedded server runs as another user only if root starts it. Its user can be a name, and must also be able to read O(python) and O(state_directory).
        If the default user cannot, the module tries the user that called C(sudo), and then the owners of the models.
    type: str
    default: "65534:65534"
  embedded_allow_root:
    description:
      - Whether the embedded server may run as root if no O(user) can read what it needs. A model can then read and write any file of the host, and every client
        that reaches the server's ports can make it load a model.
    type: bool
    default: false
  embedded_program:
    description: Path of the embedded server's program, which is already on the host. For the action plugin, not for playbooks.
    type: path
  read_only:
    description: Whether the container's root file system is read-only. Backend V(docker) only.
    type: bool
    default: true
  capabilities:
    description: Linux capabilities that the server keeps. Backend V(docker) only.
    type: list
    elements: str
    default: []
  restart_policy:
    description: When the engine restarts the server. Podman does not restart it after a reboot. Backend V(docker) only.
    type: str
    choices: [unless-stopped, on-failure, "no"]
    default: unless-stopped
  log_max_mib:
    description: Largest size of one log file of the server, in MiB, 1 or more. Backend V(docker) only.
    type: int
    default: 10
  log_files:
    description: Number of log files to keep, 1 or more. Podman keeps one. Backend V(docker) only.
    type: int
    default: 3
  side_by_side:
    description:
      - Whether the candidate is verified alongside the current server. The default is true, unless the server uses GPUs or the host's memory is too small.
      - Otherwise the module stops the current server first and verifies the new one in its place. If that fails, the old server comes back.
    type: bool
  drain_s:
    description: Time to wait before the current server is stopped, in seconds, so that requests in flight can finish. A server that is stopped drops them.
    type: float
    default: 0
  python:
    description:
      - Python interpreter on the host for the backend V(embedded), with the packages C(tensorflow) and C(grpcio), and for O(models[].metric_function), with
        C(numpy). Without it, the module uses the Python interpreter that runs it.
    type: path
  idle_exit_s:
    description:
      - Time without a request after which the server ends by itself, in seconds, 1 or more. For trials whose starter may be killed. Backend V(embedded) only.
    type: float
  ready_timeout_s:
    description: Longest time until the server is ready, and until another run that changes it has finished, in seconds, 1 or more.
    type: float
    default: 120
  state_directory:
    description: Folder for the state of servers, such as locks, configuration and the embedded server's logs.
    type: path
    default: /var/lib/tfserving
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  check_mode:
    description: Predicts what the module would do and changes nothing. Reports failing checks as far as they are known without a candidate.
  diff_mode:
    description: Shows how the server's specification would change.
    support: full
seealso:
  - module: tfserving.fleet.batching_parameters
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Serve a model with TensorFlow Serving, verified with known answers
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

- name: Verify the new server and leave the current one unchanged
  tfserving.fleet.model_server:
    name: digits
    state: proven
    image: tensorflow/serving:2.20.0
    model_name: digits
    model_base_path: /srv/models/digits/saved_model
  register: proven

- name: Restore the previous server
  tfserving.fleet.model_server:
    name: digits
    state: previous

- name: Undo a deployment on the hosts that it changed
  tfserving.fleet.model_server:
    state: previous
    deployment:
      id: monday

- name: Serve with the embedded server, on free ports
  tfserving.fleet.model_server:
    name: digits
    backend: embedded
    python: /opt/tensorflow/bin/python
    model_name: digits
    model_base_path: /srv/models/digits/saved_model
    rest_port: 0

- name: Remove the server
  tfserving.fleet.model_server:
    name: digits
    state: absent
"""

RETURN = r"""
server:
  description:
    - The server, or the first one of several. Values that do not apply to the backend or the state are null. In check mode C(pid) is null if the server does
      not run yet, and a port that is still to be chosen can change.
  returned: success
  type: dict
  contains:
    name:
      description: Name of the server.
      type: str
      sample: digits
    backend:
      description: Backend that serves.
      type: str
      sample: embedded
    state:
      description: Requested state.
      type: str
      sample: started
    pid:
      description: Process ID of the embedded server.
      type: int
      sample: 4600
    address:
      description: Address on which the server listens.
      type: str
      sample: 127.0.0.1
    grpc_port:
      description: Port for gRPC.
      type: int
      sample: 8500
    rest_port:
      description: Port for REST. Null without REST.
      type: int
      sample: 8501
    log:
      description: Path of the server's log, or the command that shows it.
      type: str
      sample: /var/lib/tfserving/servers/digits/server.log
    version:
      description: Version of the embedded server's program, which is the version of the collection. Null with the backend V(docker).
      type: str
      sample: 0.1.0
    image:
      description: Image that the server was started from. Null with the backend V(embedded).
      type: str
      sample: null
    gap_s:
      description: How long the port did not answer during the replacement, in seconds. Null if nothing was replaced.
      type: float
      sample: 6.297
    judged:
      description:
        - Metric of each converted variant that the candidate was checked with, by model name. C(examples) is the number of examples that the version includes,
          C(source) and C(converted) are the values where it was converted, C(served) the value here. Empty if no metric was evaluated.
      type: dict
      sample: {digits: {metric: accuracy, examples: 256, source: 0.9921875, converted: 0.9921875, served: 0.9921875}}
    deployment:
      description: Deployment that made the current container of the backend V(docker). Null if no deployment was named.
      type: str
      sample: null
    model_config_file:
      description: Path of the file on the host that lists the server's models, for O(tfserving.fleet.model_version#module:config_file).
      type: str
      sample: /var/lib/tfserving/servers/digits/models.pbtxt
    specification_digest:
      description: Digest of the specification. The module replaces the server when it changes.
      type: str
      sample: 5308bd74ec6a91dee7a79e307464e54722b43fecddc8d7ca98011aea0ffde043
servers:
  description: The server or all its replicas, each with the keys of RV(server). Includes replicas that were stopped because the list no longer has them.
  returned: success
  type: list
  elements: dict
  sample: [{name: digits, backend: embedded, state: started, pid: 4600, address: 127.0.0.1, grpc_port: 8500, rest_port: 8501, gap_s: 6.297}]
summary:
  description: One line about each of RV(servers).
  returned: success
  type: list
  elements: str
  sample: ["digits: started, gRPC 127.0.0.1:8500, REST 127.0.0.1:8501 (embedded), no server answered for 6.297 s"]
pending:
  description: Whether V(started) would change the current server.
  returned: with O(state=proven)
  type: bool
  sample: true
actions:
  description: Actions that the module took, or would take in check mode.
  returned: success
  type: list
  elements: str
  sample: [check a candidate alongside the server digits, 'stop the server digits, whose configuration changed', start the server digits]
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
            "embedded_program": {"type": "path"},
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
