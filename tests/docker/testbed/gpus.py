# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mixed fleet: no GPU, a T4, an A100 in MIG slices, two H200, and a GPU whose driver is missing.

The driver is the stand-in of tests/fixtures/gpu, the hook of NVIDIA's container toolkit a program that does nothing: what an engine is asked for is real, what
it hands on is not.
"""

from __future__ import annotations

import pathlib
import shutil

from ansible_collections.tfserving.fleet.tests.docker.testbed import images
from ansible_collections.tfserving.fleet.tests.fixtures.gpu import standin

HOOK = "nvidia-container-runtime-hook"
NO_DRIVER = "nodriver"
# host: the description of its GPUs, the text of its CPU.
MACHINES = {
    "plain": (None, "amd_zen3"),
    "t4": ("t4", "intel_cascadelake"),
    "mig": ("a100_mig", "amd_zen3"),
    "h200": ("h200", "intel_sapphirerapids"),
    NO_DRIVER: ("l4", "amd_zen4"),
}
_CPUS = pathlib.Path(standin.__file__).resolve().parents[1] / "capability" / "cpuinfo"
# TensorFlow's words for each device that the engine names to the hook, which it does by this variable; where the devices sit the descriptions tell.
_SAYS_IT_SEES = r"""#!/bin/sh
number=0
for device in $(echo "$NVIDIA_VISIBLE_DEVICES" | tr , ' '); do
    case $device in
%s    esac
    echo "I tensorflow/core/common_runtime/gpu/gpu_device.cc:2020] Created device /job:localhost/replica:0/task:0/device:GPU:$number with 1024 MB memory:" \
        " -> device: $number, name: $device, pci bus id: $place, compute capability: 0.0" >&2
    number=$((number + 1))
done
exec /usr/bin/tf_serving_entrypoint.sh "$@"
"""


def _says_it_sees():
    cases = []
    for gpus, _cpu in MACHINES.values():
        place = None
        for line in standin.description(gpus).splitlines() if gpus else ():
            key, *words = line.split()
            place = words[0] if key == "pci" else place
            cases += [f"    {word}) place={place} ;;\n" for word in words if word.startswith(("GPU-", "MIG-"))]
    return (_SAYS_IT_SEES % "".join(cases)).encode()


def start(engine, fleet):
    """Start the hosts; return them and the references of two images: one that serves from the CPU, and one that also says that it sees the GPUs it is given."""
    shutil.rmtree(fleet.directory / "gpus", ignore_errors=True)
    library = standin.build(fleet.directory / "gpus" / "libnvidia-ml.so.1")
    cpu = images.serving(engine)
    seeing = images.derived(
        engine,
        cpu,
        "COPY sees /usr/bin/sees",
        'ENTRYPOINT ["/bin/sh", "/usr/bin/sees"]',
        files={"sees": _says_it_sees()},
    )
    wanted = {
        name: {"cpuinfo": _CPUS / f"{text}.txt", "hooks": [HOOK] if gpus and name != NO_DRIVER else []}
        for name, (gpus, text) in MACHINES.items()
    }
    fleet.hosts({name: wanted[name] for name in wanted if name != NO_DRIVER}, stock=images.tensorflow(engine))
    hosts = fleet.hosts(wanted)
    for host in hosts:
        _equip(host, MACHINES[host.name][0], library, fleet.directory / "gpus" / host.name)
    return hosts, fleet.reference(cpu), fleet.reference(seeing)


def _equip(host, gpus, library, directory):
    """Give the host GPUs: PCI devices, and unless it is the one without, the driver's library, nvidia-smi and the toolkit's hook."""
    if gpus is None:
        return
    has_driver = host.name != NO_DRIVER
    directory.mkdir()
    standin.lay(
        directory,
        library if has_driver else None,
        standin.description(gpus),
        smi=has_driver,
        driver="nvidia" if has_driver else None,
    )
    host.run("mount", "-t", "tmpfs", "tmpfs", "/sys/bus/pci/devices")
    for place in sorted((directory / "sys/bus/pci/devices").iterdir()):
        (place / "driver").unlink(missing_ok=True)  # the engine's archives hold no links that lead out of them
        host.put(place, f"/root/pci/{place.name}")
        host.run("cp", "-a", f"/root/pci/{place.name}", "/sys/bus/pci/devices/")
        if has_driver:
            host.run("ln", "-s", "../../../../bus/pci/drivers/nvidia", f"/sys/bus/pci/devices/{place.name}/driver")
    if has_driver:
        host.put(directory / "usr", "/root/usr")
        host.run("sh", "-c", f"cp -a /root/usr/. /usr/ && touch /dev/nvidiactl && cp /opt/hooks/{HOOK} /usr/bin/")
