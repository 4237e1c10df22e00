#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: capability_facts
short_description: Detect what a host can do for TensorFlow Serving
version_added: "0.1.0"
description:
  - Returns in one round trip the CPU and its instruction sets, the CPUs and the memory that processes can actually use, GPUs, container engine, operating
    system and virtualization.
  - Reads files below C(/proc), C(/sys), C(/etc) and C(/run), and queries a container engine that has a socket. Needs neither privileges nor libraries.
  - If NVIDIA's driver is installed, a child process queries the driver's library, so a driver that hangs or crashes does no harm. The module runs C(nvidia-smi)
    for what the library did not return. Whatever fails there, the module returns the rest within 10 seconds.
  - The facts take 6 KB at most and do not change from run to run. They do not include values that change by the minute (free memory, clocks, processes).
  - An action on the controller adds the classes. They determine which images can run on the host, and for which other hosts a tuning of the host is valid.
  - The facts do not include what a hypervisor or a container hides. Limits are those of the process that Ansible starts on the host.
options:
  engine_socket:
    description:
      - Path of the container engine's unix socket on the host.
      - By default the one in C(DOCKER_HOST), otherwise the first that answers of C(/var/run/docker.sock), C(/run/podman/podman.sock) and those of this user
        below C(/run/user). An engine on another machine (C(tcp://), C(ssh://)) cannot be used.
    type: path
  detail:
    description:
      - Details to return. V(full) also returns RV(gpu_details), the values of NVIDIA's GPUs that change by the minute. They are not a fact, so later tasks do
        not carry them.
    type: str
    choices: [basic, full]
    default: basic
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  action:
    description: An action on the controller adds the classes.
    support: full
  facts:
    description: Returns a fact.
    support: full
  platform:
    description: Linux on x86-64 and aarch64. Other systems are described as far as the module can read them.
    platforms: posix
seealso:
  - plugin: tfserving.fleet.cpu_capability
    plugin_type: filter
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Detect the capabilities of the host
  tfserving.fleet.capability_facts:

- name: Fail if a GPU has failed
  tfserving.fleet.capability_facts:
    detail: full
  register: __found
  failed_when: "'failed' in __found.gpu_details | map(attribute='health.state')"

- name: Show its tuning class
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
      description: Capabilities of the host. A key that does not apply, or that the module cannot read, is null and never missing.
      returned: success
      type: dict
      contains:
        schema:
          description: Version of the format of this fact.
          returned: success
          type: int
          sample: 1
        architecture:
          description: Architecture, as in C(uname -m).
          returned: success
          type: str
          sample: x86_64
        cpu:
          description: CPUs of the host.
          returned: success
          type: dict
          contains:
            vendor:
              description: Vendor as in C(/proc/cpuinfo). On Arm the implementer's name.
              returned: success
              type: str
              sample: GenuineIntel
            family:
              description: CPU family. On Arm the architecture's version.
              returned: success
              type: int
              sample: 6
            model:
              description: CPU model. On Arm the part number.
              returned: success
              type: int
              sample: 143
            stepping:
              description: CPU stepping. On Arm the variant times 16 plus the revision.
              returned: success
              type: int
              sample: 6
            brand:
              description: Name of the CPU, for information only. No decision depends on it.
              returned: success
              type: str
              sample: Intel(R) Xeon(R) Platinum 8480+
            level:
              description: Highest psABI level, V(x86-64-v1) to V(x86-64-v4), or V(aarch64). Null on other architectures.
              returned: success
              type: str
              sample: x86-64-v4
            flags:
              description: Instruction flags that all cores have, of those that levels, AI instructions and TensorFlow's libraries need. Sorted.
              returned: success
              type: list
              elements: str
              sample: [avx, avx2, avx512f, fma]
            ai:
              description: Flags of AI instructions among C(flags). Sorted.
              returned: success
              type: list
              elements: str
              sample: [amx_bf16, amx_int8, amx_tile, avx512_bf16, avx512_vnni]
            sockets:
              description: Number of sockets that are online.
              returned: success
              type: int
              sample: 2
            cores:
              description: Number of physical cores that are online.
              returned: success
              type: int
              sample: 112
            threads:
              description: Number of logical CPUs that are online.
              returned: success
              type: int
              sample: 224
            numa_nodes:
              description: Number of NUMA nodes that have CPUs.
              returned: success
              type: int
              sample: 2
            caches:
              description: Sizes of the caches of the first CPU in KiB, under C(l1d_kib), C(l1i_kib), C(l2_kib), C(l3_kib).
              returned: success
              type: dict
              sample: {l1d_kib: 48, l1i_kib: 32, l2_kib: 2048, l3_kib: 107520}
            usable:
              description: Number of CPUs that processes can actually use, the minimum of affinity, CPU set and quota.
              returned: success
              type: float
              sample: 1.5
            affinity:
              description: CPUs that the process may run on, in the kernel's list syntax, without those that are known to be offline.
              returned: success
              type: str
              sample: 0-3
            cpuset:
              description: CPUs of the control group. Null if these are all CPUs.
              returned: success
              type: str
              sample: 0-3
            quota:
              description: Number of CPUs that a CFS quota allows, the minimum of the control group and its ancestors.
              returned: success
              type: float
              sample: 1.5
        memory:
          description: Memory in MiB. C(total_mib), C(limit_mib) of the control groups, and C(usable_mib), the minimum of both.
          returned: success
          type: dict
          sample: {total_mib: 24000, limit_mib: 2048, usable_mib: 2048}
        gpus:
          description:
            - NVIDIA's GPUs, including those without a driver. Identical GPUs are one entry, whose C(devices) are sorted by address.
            - A value that only the driver knows is null if the driver did not return it.
          returned: success
          type: list
          elements: dict
          contains:
            product: {description: Name of the GPU from the driver., returned: success, type: str, sample: NVIDIA A100-SXM4-40GB}
            family: {description: "Architecture, with the names of GPU feature discovery.", returned: success, type: str, sample: ampere}
            compute: {description: "Compute capability, C(major) and C(minor).", returned: success, type: dict, sample: {major: 8, minor: 0}}
            memory_mib: {description: Memory of one GPU in MiB., returned: success, type: int, sample: 40960}
            count: {description: Number of these GPUs., returned: success, type: int, sample: 8}
            device_id: {description: Vendor and device ID on the PCI bus., returned: success, type: str, sample: "10de:20b0"}
            driver: {description: Kernel driver that is bound., returned: success, type: str, sample: nvidia}
            driver_version: {description: Version of NVIDIA's driver., returned: success, type: str, sample: 535.161.08}
            cuda_version: {description: Highest CUDA version that the driver supports., returned: success, type: str, sample: "12.2"}
            ecc: {description: Whether ECC is on. Null if the GPU has no ECC., returned: success, type: bool, sample: true}
            mig:
              description: MIG slices of one GPU, in the order of C(mig_uuids). Null if MIG is off or unknown.
              returned: success
              type: list
              elements: dict
              sample: [{profile: 1g.5gb, memory_mib: 4864}]
            problem: {description: "Why the GPUs cannot be used, or what the driver did not return, with a remedy.", returned: success, type: str, sample: null}
            devices:
              description: Each of the GPUs. C(index) is the driver's number of the GPU.
              returned: success
              type: list
              elements: dict
              sample:
                - {pci_bus_id: "0000:07:00.0", uuid: GPU-8f6b2a10-3d5f-4b6e-9a41-2f7d0c1e5b33, index: 0, numa_node: 0, cpu_affinity: 0-31, mig_uuids: []}
        container:
          description:
            - Container engine. C(answers) says whether its API answers, C(reason) why it does not.
            - C(runtimes) and C(cdi_directories) are what the engine can give a container.
            - C(sdk) is Python's Docker SDK for the interpreter that Ansible uses. Its C(problem) says why it cannot be used, null if it can.
            - C(nvidia) is null without a GPU. C(toolkit) is the version of NVIDIA's container toolkit. C(hook) says whether the hook behind C(--gpus) is
              installed. C(cdi) says how the CDI descriptions name the GPUs (C(names)), or why they do not fit (C(problem)).
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
            sdk: {version: 5.0.3, problem: null}
            nvidia: {toolkit: 1.17.4, hook: true, cdi: {names: uuid, problem: null}}
        os:
          description: Operating system.
          returned: success
          type: dict
          sample: {distribution: debian, version: "12", kernel: 6.1.0-18-amd64, init: systemd, libc: glibc 2.36}
        virtualization:
          description: Kind of virtual machine (C(kind)) and of container (C(container)), with the names of systemd-detect-virt.
          returned: success
          type: dict
          sample: {kind: kvm, container: null}
        python:
          description: Python interpreter that ran the module.
          returned: success
          type: dict
          sample: {version: 3.11.2, executable: /usr/bin/python3}
        classes:
          description:
            - C(image) consists of the psABI level and the major compute capabilities of the GPUs.
            - C(tuning) adds AI instructions, vendor, usable CPUs, NUMA nodes and GPUs.
          returned: success
          type: dict
          sample: {image: x86-64-v4, tuning: x86-64-v4+avx512_vnni-amd-2c-1n}
gpu_details:
  description:
    - Values of each GPU of NVIDIA's driver that change by the minute. Null for values that are unknown or not available.
    - C(health) is ok, warning, failed or unknown, with reasons. C(xids) are the driver's errors in the kernel's log, null if this account may not read the log.
      C(faults) are the queries that the driver refused.
  returned: if O(detail=full)
  type: list
  elements: dict
  sample:
    - pci_bus_id: "0000:00:04.0"
      uuid: GPU-6513270e-269e-4d37-b2a7-4de452e6b438
      free_memory_mib: 14760
      mig_free_memory_mib: []
      persistence: true
      power_w: 23.3
      power_limit_w: 70.0
      temperature_c: 41
      clocks_mhz: {sm: 795, sm_max: 1590, memory: 5001, memory_max: 5001}
      throttling: []
      nvlink: null
      processes: [{pid: 4242, memory_mib: 1200}]
      retired_pages: 0
      retired_pages_pending: false
      remapped_rows: null
      xids: null
      faults: {}
      health: {state: ok, reasons: []}
"""

from ansible_collections.tfserving.fleet.plugins.module_utils._capability import host
from ansible_collections.tfserving.fleet.plugins.module_utils._core.shell import FleetModule, run


def main():
    module = FleetModule(
        argument_spec={
            "engine_socket": {"type": "path"},
            "detail": {"type": "str", "choices": ["basic", "full"], "default": "basic"},
        },
        supports_check_mode=True,
    )
    run(module, lambda: detect(module.params["engine_socket"], module.params["detail"] == "full"))


def detect(engine_socket, detail):
    capabilities, warnings, details = host.read(engine_socket=engine_socket, detail=detail)
    found = {"changed": False, "ansible_facts": {"tfserving_capabilities": capabilities}, "warnings": warnings}
    return dict(found, gpu_details=details) if detail else found


if __name__ == "__main__":
    main()
