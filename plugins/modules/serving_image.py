#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: serving_image
short_description: Build, ship and verify images of TensorFlow Serving for a class of hosts
version_added: "0.1.0"
description:
  - With O(state=built), builds the image of a recipe on a builder, unless the builder, the registry or the archive has it. Then writes it to the registry or
    the archive.
  - With O(state=present), brings that image to a host that serves, and rejects an image that does not suit the CPU or GPU. Starts the image once with a model
    of 200 bytes and without network, and compares the log of its server with its labels. Only then gives the image its name.
  - With O(state=pruned), removes images of this collection that are not in O(keep) and that no container uses.
  - An image gets its name only when it is complete and was started once. An image that the builder's CPU cannot run is started on the first host of its class,
    and has the name C(<name>-unstarted) until then.
notes:
  - A build takes hours, and several GiB of memory for each job. The module checks first whether the builder has enough.
  - The module compiles sources only after it verified that git's checksum of all their files is the one in the recipe.
  - Stopping the task (by a signal or with the connection) ends the build and removes its containers. Compiled files stay in O(directory) for the next run.
options:
  state:
    description: Desired state on the host.
    type: str
    choices: [built, present, pruned]
    default: present
  recipe:
    description: Recipe, C(build) of the plan without changes. Required for O(state=built).
    type: dict
  image:
    description: With O(state=present) and without O(recipe), the name of your own image. The module pulls it if it is missing, and starts it once.
    type: str
  registry:
    description: Address and path of a registry that the engine is logged in to, such as C(registry.example.com/team). Without it, O(archive) ships images.
    type: str
  archive:
    description:
      - Directory on the host for the image, as parts with checksums. With O(state=built) the module writes it. With O(state=present) the module loads and then
        removes it.
    type: path
  keep:
    description: With O(state=pruned), names of images to keep.
    type: list
    elements: str
    default: []
  stock_image:
    description: Image to compare with. The module starts it in the same way if the host has it, and never pulls it.
    type: str
  capabilities:
    description: Capabilities of the host, C(ansible_facts.tfserving_capabilities). Without it, the module detects the CPU and does not check GPUs.
    type: dict
  directory:
    description: Directory on the builder for sources, the compiler's cache and logs.
    type: path
    default: /var/lib/tfserving/build
  jobs:
    description: Maximum number of compilers that run at the same time. Without it, one for each CPU as far as memory allows.
    type: int
  memory_per_job_mib:
    description: Memory for each job, in MiB.
    type: int
    default: 2048
  memory_reserve_mib:
    description: Memory to leave for Bazel and the linker, in MiB.
    type: int
    default: 4096
  disk_mib:
    description: Free disk space that a build needs where the engine keeps its images, in MiB.
    type: int
    default: 40960
  cache_mib:
    description: Largest cache of compiled files to keep for later builds, in MiB. 0 for no cache. The build reads it on the loopback address.
    type: int
    default: 51200
  network:
    description: Network of the build's containers. Only V(host) can reach the cache on the loopback address.
    type: str
    default: host
  mirrors:
    description:
      - Replacements for addresses that the builder cannot reach. A key is the prefix of a URL or of an image's name, and its value replaces this prefix. The
        module replaces URLs in the Docker files and in Bazel's downloads.
    type: dict
    default: {}
  proxies:
    description: Proxies for the build, C({http_proxy, https_proxy, no_proxy}). The image does not contain them.
    type: dict
    default: {}
  start_timeout_s:
    description: Longest time until the server is ready, in seconds.
    type: float
    default: 120
  progress:
    description: File on the host to which the module appends lines during a build, with Bazel's own count as a percentage and the time left.
    type: path
  engine_socket:
    description:
      - Path of the container engine's unix socket on the host. By default the one in C(DOCKER_HOST), otherwise the first socket of Docker or Podman that
        answers.
      - An engine on another machine (C(tcp://), C(ssh://)) cannot be used.
    type: str
requirements:
  - Python's Docker SDK (docker) on the host
  - git on the builder, if the sources are a git directory
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  check_mode:
    description: Predicts what it would build, push, bring or remove.
  diff_mode:
    description: Shows the image and its origin.
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

- name: Bring it to a host of the class and verify it there
  tfserving.fleet.serving_image:
    recipe: "{{ tfs_capabilities_plan_result.plan.build }}"
    registry: registry.example.com/team
    capabilities: "{{ ansible_facts.tfserving_capabilities }}"
    stock_image: tensorflow/serving:2.20.0

- name: Remove unused images
  tfserving.fleet.serving_image:
    state: pruned
    keep: ["{{ tfs_capabilities_plan_result.plan.image }}"]
"""

RETURN = r"""
image:
  description: Name of the image.
  returned: O(state=built) or O(state=present)
  type: str
  sample: tfserving-fleet/serving:2.20.0-x86-64-v3-b4d9765984c7
id:
  description: ID of the image on the host. Null if the host does not have it.
  returned: O(state=built) or O(state=present)
  type: str
  sample: sha256:0d1f3c7ba4e6
reference:
  description: Image by digest in the registry. Null without a registry.
  returned: O(state=built) or O(state=present)
  type: str
  sample: registry.example.com/team/tfserving-fleet/serving@sha256:5f0c3d
files:
  description: Files of the archive, to ship. Empty with a registry.
  returned: O(state=built)
  type: list
  elements: path
  sample: [/var/lib/tfserving/images/b4d9765984c7/manifest.json, /var/lib/tfserving/images/b4d9765984c7/part-00000]
started_once:
  description: Whether the image was started on a CPU that can run it.
  returned: O(state=built) or O(state=present)
  type: bool
  sample: true
build:
  description:
    - The build, null if nothing was built. C(seconds) it took, C(jobs) at its end (null if a killed run had left a complete image), C(notes) about lowered
      jobs, and the file C(log) with all its output.
  returned: O(state=built)
  type: dict
  sample: {seconds: 7212.4, jobs: 12, notes: [], log: /var/lib/tfserving/build/logs/2.20.0-x86-64-v3-b4d9765984c7.log}
proof:
  description:
    - What the server's log says about this start, null if the image was not started now. C(unused) lists the instructions that the CPU has and the server does
      not use, C(unused_before) those that the server of O(stock_image) does not use (null if the host does not have that image). C(conclusive) says whether the
      log shows it.
  returned: O(state=built) or O(state=present)
  type: dict
  sample: {unused: [], unused_before: [AVX2, FMA], conclusive: true}
removed:
  description: Removed images, by name or ID.
  returned: O(state=pruned)
  type: list
  elements: str
  sample: [tfserving-fleet/serving:2.19.1-x86-64-v3-59911e51925f]
actions:
  description: Actions that the module took, or would take in check mode.
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
    """A signal ended the module. What runs cleans up."""


def _cancel(number, _frame):
    raise Cancelled(signal.Signals(number).name)


def main():
    """Run the module."""
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
        module.fail_json(msg=f"stopped by {cancelled}; only compiled files are kept")


if __name__ == "__main__":
    main()
