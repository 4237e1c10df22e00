#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: capability_facts
short_description: Find out what a host can do for TensorFlow Serving
version_added: "0.1.0"
description:
  - One round trip tells CPU and instruction sets, the CPUs and the memory that are really usable, GPUs, container engine, operating system and virtualisation.
  - Reads files below C(/proc), C(/sys), C(/etc) and C(/run), and asks a container engine that has a socket. Needs neither privileges nor libraries.
  - The facts take 4 KB at most and do not change from run to run. What changes by the minute (free memory, clocks, processes) is not among them.
  - The classes are added on the controller. They decide which images may run on the host, and for which other hosts a tuning of it holds.
  - What a hypervisor or a container hides is not there for our purpose. Limits are those of the process that Ansible starts on the host.
options:
  engine_socket:
    description:
      - The socket of the container engine.
      - By default the first that answers of C(/var/run/docker.sock), C(/run/podman/podman.sock) and those of this user below C(/run/user).
    type: path
attributes:
  action:
    description: Has an action on the controller, which adds the classes.
    support: full
  action_group:
    description: Belongs to the action group C(tfserving.fleet.fleet).
    support: full
    membership:
      - tfserving.fleet.fleet
  check_mode:
    description: Only reads.
    support: full
  diff_mode:
    description: Changes nothing, so there is nothing to show.
    support: none
  facts:
    description: Returns a fact.
    support: full
  platform:
    description: Linux on x86-64 and aarch64; other systems are described as far as they can be read.
    platforms: posix
    support: full
seealso:
  - plugin: tfserving.fleet.cpu_capability
    plugin_type: filter
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Find out what the host can do
  tfserving.fleet.capability_facts:

- name: Say in which class it is
  ansible.builtin.debug:
    msg: "{{ ansible_facts.tfserving_capabilities.classes.tuning }}"
"""

RETURN = r"""
ansible_facts:
  description: The facts, under one name.
  returned: success
  type: dict
  contains:
    tfserving_capabilities:
      description: What the host can do. A key that does not apply, or that cannot be read, is null and never missing.
      returned: success
      type: dict
      contains:
        schema:
          description: Version of the shape of this fact.
          returned: success
          type: int
          sample: 1
        architecture:
          description: The architecture, as C(uname -m) names it.
          returned: success
          type: str
          sample: x86_64
        cpu:
          description: The CPUs.
          returned: success
          type: dict
          contains:
            vendor:
              description: The vendor as cpuinfo names it; on Arm the implementer's name.
              returned: success
              type: str
              sample: GenuineIntel
            family:
              description: The family; on Arm the architecture's version.
              returned: success
              type: int
              sample: 6
            model:
              description: The model; on Arm the part number.
              returned: success
              type: int
              sample: 143
            stepping:
              description: The stepping; on Arm the variant times 16 plus the revision.
              returned: success
              type: int
              sample: 6
            brand:
              description: The name of the CPU. Information only; nothing is decided by it.
              returned: success
              type: str
              sample: Intel(R) Xeon(R) Platinum 8480+
            level:
              description: The highest psABI level, V(x86-64-v1) to V(x86-64-v4), or V(aarch64). Null on other architectures.
              returned: success
              type: str
              sample: x86-64-v4
            flags:
              description: The instruction flags that all cores have, of those that levels, AI instructions and TensorFlow's libraries ask for. Sorted.
              returned: success
              type: list
              elements: str
              sample: [avx, avx2, avx512f, fma]
            ai:
              description: Those of the flags that are AI instructions. Sorted.
              returned: success
              type: list
              elements: str
              sample: [amx_bf16, amx_int8, amx_tile, avx512_bf16, avx512_vnni]
            sockets:
              description: Sockets that are online.
              returned: success
              type: int
              sample: 2
            cores:
              description: Physical cores that are online.
              returned: success
              type: int
              sample: 112
            threads:
              description: Logical CPUs that are online.
              returned: success
              type: int
              sample: 224
            numa_nodes:
              description: NUMA nodes that have CPUs.
              returned: success
              type: int
              sample: 2
            caches:
              description: Sizes of the caches of the first CPU in KiB, under C(l1d_kib), C(l1i_kib), C(l2_kib), C(l3_kib).
              returned: success
              type: dict
              sample: {l1d_kib: 48, l1i_kib: 32, l2_kib: 2048, l3_kib: 107520}
            usable:
              description: CPUs really usable. The least of affinity, CPU set and quota.
              returned: success
              type: float
              sample: 1.5
            affinity:
              description: The CPUs that the process may run on, in the kernel's list syntax.
              returned: success
              type: str
              sample: 0-3
            cpuset:
              description: The CPUs of the control group, unless these are all.
              returned: success
              type: str
              sample: 0-3
            quota:
              description: CPUs that a CFS quota allows, the least of the control group and its ancestors.
              returned: success
              type: float
              sample: 1.5
        memory:
          description: Memory in MiB. C(total_mib), C(limit_mib) of the control groups, C(usable_mib) the least of both.
          returned: success
          type: dict
          sample: {total_mib: 24000, limit_mib: 2048, usable_mib: 2048}
        gpus:
          description:
            - NVIDIA's display controllers on the PCI bus, sorted by address, also those without a driver.
            - Product, compute capability, memory and MIG layout are null, because a PCI scan does not tell them.
          returned: success
          type: list
          elements: dict
          sample:
            - {pci_bus_id: "0000:01:00.0", device_id: "10de:2330", driver: nvidia, product: null, compute: null, memory_mib: null, mig: null}
        container:
          description:
            - The container engine. C(answers) says whether its API does, C(reason) why it does not.
            - C(runtimes) and C(cdi_directories) are what the engine can give a container.
          returned: success
          type: dict
          sample:
            engine: docker
            version: 20.10.24
            api_version: "1.41"
            socket: /var/run/docker.sock
            answers: true
            reason: null
            runtimes: [nvidia, runc]
            cdi_directories: []
        os:
          description: Operating system.
          returned: success
          type: dict
          sample: {distribution: debian, version: "12", kernel: 6.1.0-18-amd64, init: systemd, libc: glibc 2.36}
        virtualization:
          description: What the machine is a guest of (C(kind)) and which container the host is (C(container)), in the words of systemd-detect-virt.
          returned: success
          type: dict
          sample: {kind: kvm, container: null}
        python:
          description: The Python that the module ran under.
          returned: success
          type: dict
          sample: {version: 3.11.2, executable: /usr/bin/python3}
        classes:
          description:
            - C(image) is the psABI level and the major compute capabilities of the GPUs.
            - C(tuning) adds AI instructions, vendor, usable CPUs, NUMA nodes and GPUs.
          returned: success
          type: dict
          sample: {image: x86-64-v4, tuning: x86-64-v4+avx512_vnni-amd-2c-1n}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.capability import host
from ansible_collections.tfserving.fleet.plugins.module_utils.common.shell import run


def main():
    module = AnsibleModule(argument_spec={"engine_socket": {"type": "path"}}, supports_check_mode=True)
    run(module, lambda: detect(module.params["engine_socket"]))


def detect(engine_socket):
    capabilities, warnings = host.read(engine_socket=engine_socket)
    return {"changed": False, "ansible_facts": {"tfserving_capabilities": capabilities}, "warnings": warnings}


if __name__ == "__main__":
    main()
