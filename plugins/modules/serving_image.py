#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: serving_image
short_description: Build, bring and prove images of TensorFlow Serving made for a class of hosts
version_added: "0.1.0"
description:
  - With O(state=built) builds the image of a recipe on a builder, unless the builder, the registry or the archive has it, and hands it to the registry or the
    archive.
  - With O(state=present) brings that image to a host that serves, refuses one that does not fit its CPU or GPU, starts it once with a model of 200 bytes and no
    network, and compares what its server says with what its labels promise. Only then it gets its name.
  - With O(state=pruned) removes images of this collection that nobody keeps and no container uses.
  - No image has its name before it is whole and was started once. One that the builder's CPU cannot run is started on the first host of its class, and is
    called C(<name>-unstarted) until then.
notes:
  - A build takes hours and several GiB of memory for each job. It is checked before whether the builder has that.
  - Sources are compiled only after git's checksum of all their files was found to be the recipe's.
  - Stopping the task (by signal or with the connection) ends the build and removes its containers. What was compiled stays in O(directory) for the next run.
options:
  state:
    description: What is wanted on the host.
    type: str
    choices: [built, present, pruned]
    default: present
  recipe:
    description: The recipe, C(build) of the plan, as it is. Needed for O(state=built).
    type: dict
  image:
    description: With O(state=present) and without O(recipe), the name of an image of your own, which is pulled where it is missing and started once.
    type: str
  registry:
    description: Address and path of a registry that the engine is logged in to, C(registry.example.com/team) for instance. Without it, O(archive) ships images.
    type: str
  archive:
    description: Directory on the host for the image as parts with checksums, written with O(state=built), loaded and then removed with O(state=present).
    type: path
  keep:
    description: With O(state=pruned), the names of images to keep.
    type: list
    elements: str
    default: []
  stock_image:
    description: An image to compare with. It is started in the same way where the host has it, and is never pulled.
    type: str
  capabilities:
    description: What the host can do, C(ansible_facts.tfserving_capabilities). Without it the CPU is read here, and GPUs are not judged.
    type: dict
  directory:
    description: Directory on the builder for sources, the compiler's cache and logs.
    type: path
    default: /var/lib/tfserving/build
  jobs:
    description: The most compilers at once. Without it, as many as there are CPUs and as memory allows.
    type: int
  memory_per_job_mib:
    description: Memory to allow for each job, in MiB.
    type: int
    default: 2048
  memory_reserve_mib:
    description: Memory to leave for Bazel and the linker, in MiB.
    type: int
    default: 4096
  disk_mib:
    description: Free disk that a build needs where the engine keeps its images, in MiB.
    type: int
    default: 40960
  cache_mib:
    description: The largest cache of compiled files that is kept for later builds, in MiB; 0 for none. It is served to the build on loopback.
    type: int
    default: 51200
  network:
    description: Network of the build's containers. The cache on loopback is reached with V(host) alone.
    type: str
    default: host
  mirrors:
    description:
      - What stands in for addresses that the builder cannot reach. A key is the prefix of a URL or of an image's name, its value what replaces it. URLs are
        replaced in the Docker files and in Bazel's downloads.
    type: dict
    default: {}
  proxies:
    description: Proxies for the build, C({http_proxy, https_proxy, no_proxy}). They do not stay in the image.
    type: dict
    default: {}
  start_timeout_s:
    description: The longest that a server may take until it serves, in seconds.
    type: float
    default: 120
  progress:
    description: A file on the host to which a line is appended while a build goes on, with Bazel's own count as a percentage and the time left.
    type: path
  engine_socket:
    description:
      - Path of the container engine's unix socket on the host. By default that of C(DOCKER_HOST), else the first that answers of Docker's and Podman's.
      - An engine of another machine (C(tcp://), C(ssh://)) cannot be used.
    type: str
requirements:
  - Python's Docker SDK (docker) on the host
  - git on the builder, where the sources are a git directory
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  check_mode:
    description: Says what would be built, pushed, brought or removed.
  diff_mode:
    description: Shows the image and what was made of it.
    support: full
  platform:
    description: Linux with Docker Engine 20.10 or later, or Podman's compatible socket, and Python 3.9 or later.
seealso:
  - module: tfserving.fleet.serving_image_info
  - module: tfserving.fleet.server_log_info
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Build the image of a class and push it
  tfserving.fleet.serving_image:
    state: built
    recipe: "{{ tfs_capabilities_plan_result.plan.build }}"
    registry: registry.example.com/team
  async: 43200
  poll: 30

- name: Bring it to a host of the class and prove it there
  tfserving.fleet.serving_image:
    recipe: "{{ tfs_capabilities_plan_result.plan.build }}"
    registry: registry.example.com/team
    capabilities: "{{ ansible_facts.tfserving_capabilities }}"
    stock_image: tensorflow/serving:2.20.0

- name: Remove what nobody uses any more
  tfserving.fleet.serving_image:
    state: pruned
    keep: ["{{ tfs_capabilities_plan_result.plan.image }}"]
"""

RETURN = r"""
image:
  description: The image's name.
  returned: O(state=built) or O(state=present)
  type: str
  sample: tfserving-fleet/serving:2.20.0-x86-64-v3-b4d9765984c7
id:
  description: The image's id on this host, null where it is not here.
  returned: O(state=built) or O(state=present)
  type: str
  sample: sha256:0d1f3c7ba4e6
reference:
  description: The image by digest in the registry, null without one.
  returned: O(state=built) or O(state=present)
  type: str
  sample: registry.example.com/team/tfserving-fleet/serving@sha256:5f0c3d
files:
  description: The files of the archive, to ship; empty with a registry.
  returned: O(state=built)
  type: list
  elements: path
  sample: [/var/lib/tfserving/images/b4d9765984c7/manifest.json, /var/lib/tfserving/images/b4d9765984c7/part-00000]
started_once:
  description: Whether the image was started on a CPU that runs it.
  returned: O(state=built) or O(state=present)
  type: bool
  sample: true
build:
  description:
    - The build, null where there was none; C(seconds), the C(jobs) it ended with (null where a killed run had left the image whole), C(notes) on lowered jobs,
      the file C(log) with all its output.
  returned: O(state=built)
  type: dict
  sample: {seconds: 7212.4, jobs: 12, notes: [], log: /var/lib/tfserving/build/logs/2.20.0-x86-64-v3-b4d9765984c7.log}
proof:
  description:
    - What the server said when it was started now, null where it was not. C(unused) names the instructions that the CPU has and the server does not use,
      C(unused_before) those that O(stock_image) leaves unused (null where it is not here), C(conclusive) says whether the log tells.
  returned: O(state=built) or O(state=present)
  type: dict
  sample: {unused: [], unused_before: [AVX2, FMA], conclusive: true}
removed:
  description: The images that were removed, by name or id.
  returned: O(state=pruned)
  type: list
  elements: str
  sample: [tfserving-fleet/serving:2.19.1-x86-64-v3-59911e51925f]
actions:
  description: What was done, or would be.
  returned: success
  type: list
  elements: str
  sample: [build tfserving-fleet/serving:2.20.0-x86-64-v3-b4d9765984c7]
"""

import signal

from ansible_collections.tfserving.fleet.plugins.module_utils._core import shell
from ansible_collections.tfserving.fleet.plugins.module_utils._image.host_image import HostImage

OPTIONS = {
    "state": {"type": "str", "choices": ["built", "present", "pruned"], "default": "present"},
    "recipe": {"type": "dict"},
    "image": {"type": "str"},
    "registry": {"type": "str"},
    "archive": {"type": "path"},
    "keep": {"type": "list", "elements": "str", "default": []},
    "stock_image": {"type": "str"},
    "capabilities": {"type": "dict"},
    "directory": {"type": "path", "default": "/var/lib/tfserving/build"},
    "jobs": {"type": "int"},
    "memory_per_job_mib": {"type": "int", "default": 2048},
    "memory_reserve_mib": {"type": "int", "default": 4096},
    "disk_mib": {"type": "int", "default": 40960},
    "cache_mib": {"type": "int", "default": 51200},
    "network": {"type": "str", "default": "host"},
    "mirrors": {"type": "dict", "default": {}},
    "proxies": {"type": "dict", "default": {}},
    "start_timeout_s": {"type": "float", "default": 120},
    "progress": {"type": "path"},
    "engine_socket": {"type": "str"},
}


class Cancelled(BaseException):
    """Somebody wants this to end; what runs cleans up behind itself."""


def _cancel(number, _frame):
    raise Cancelled(signal.Signals(number).name)


def main():
    """Ansible's entry."""
    module = shell.FleetModule(
        OPTIONS,
        supports_check_mode=True,
        mutually_exclusive=[["recipe", "image"], ["registry", "archive"]],
        required_if=[("state", "built", ["recipe"]), ("state", "present", ["recipe", "image"], True)],
    )
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _cancel)
    try:
        shell.run(module, lambda: HostImage(module.params, module.check_mode).reach())
    except Cancelled as cancelled:
        module.fail_json(msg=f"stopped by {cancelled}; nothing of the image was kept but what was compiled")


if __name__ == "__main__":
    main()
