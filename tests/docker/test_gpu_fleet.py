# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mixed fleet from detection to the container: no GPU, a T4, an A100 in MIG slices, two H200, and a GPU whose driver is missing.

The driver is the stand-in of tests/fixtures/gpu, the hook of NVIDIA's container toolkit one that does nothing: what the engine was asked for is what is tested.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.server import container
from ansible_collections.tfserving.fleet.tests.docker.testbed import images

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
_specification = importlib.util.spec_from_file_location("gpu_standin", FIXTURES / "gpu" / "standin.py")
standin = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(standin)

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None and not os.environ.get("REQUIRE_DOCKER"), reason="the stand-in is compiled with gcc")
HOOK = "nvidia-container-runtime-hook"
# host: the description of its GPUs, the text of its CPU.
MACHINES = {"plain": (None, "amd_zen3"), "t4": ("t4", "intel_cascadelake"), "mig": ("a100_mig", "amd_zen3"), "h200": ("h200", "intel_sapphirerapids"),
            "nodriver": ("l4", "amd_zen4")}
PLAY = [{
    "hosts": "all", "gather_facts": False,
    "vars": {"tfserving_version": "2.20.0", "tfserving_models": [{"name": "half_plus_two"}],
             "tfserving_gpu": "{{ 'require' if inventory_hostname == 'nodriver' else 'auto' }}"},
    "roles": ["tfserving.fleet.tfs_capabilities"],
    "tasks": [
        {"ansible.builtin.include_role": {"name": "tfserving.fleet.tfs_capabilities", "tasks_from": "plan"}},
        {"tfserving.fleet.capability_facts": {"detail": "full"}, "register": "whole"},
        {"ansible.builtin.debug": {"msg": "RESULT {{ inventory_hostname }} {{ {'facts': ansible_facts.tfserving_capabilities, 'details': whole.gpu_details, "
                                          "'plan': tfs_capabilities_plan_result.plan | default({})} | to_json | b64encode }} ."}}]}]
# The engine's own client makes and starts the container as the collection describes it, but for the program in it.
CREATE = ("import json, sys, docker; api = docker.APIClient(); config = json.load(sys.stdin); config.update(Cmd=['true'], User='');"
          "made = api.create_container_from_config(config)['Id']; api.start(made);"
          "print(json.dumps([api.wait(made)['StatusCode'], api.inspect_container(made)]))")


@pytest.fixture(scope="module")
def found(testbed, engine, play_once, tmp_path_factory):
    """{host: (Host, facts, plan, details)} of one run over all machines."""
    directory = tmp_path_factory.mktemp("gpus")
    library = standin.build(directory / "libnvidia-ml.so.1")
    wanted = {name: {"cpuinfo": FIXTURES / "capability" / "cpuinfo" / f"{cpu}.txt", "hooks": [HOOK] if gpus else []} for name, (gpus, cpu) in MACHINES.items()}
    testbed.hosts({"t4": wanted["t4"]}, stock=images.tensorflow(engine))     # the one that also serves
    hosts = testbed.hosts(wanted)
    for host in hosts:
        equip(host, MACHINES[host.name][0], library, directory / host.name)
    playbook = directory / "play.yml"
    playbook.write_text(json.dumps(PLAY))
    results = results_of(play_once(playbook, hosts))
    assert set(results) == set(MACHINES)
    yield {host.name: (host, results[host.name]["facts"], results[host.name]["plan"], results[host.name]["details"]) for host in hosts}
    for host in hosts:
        host.container.remove(force=True, v=True)


def results_of(run):
    return {name: json.loads(base64.b64decode(text)) for name, text in re.findall(r"RESULT (\w+) (\S+)\s", run.output)}


@pytest.fixture(scope="module")
def play_once(testbed, tmp_path_factory):
    """The fixture play, for a whole module."""
    from ansible_collections.tfserving.fleet.tests.docker.testbed.playbook import Run

    def play(playbook, hosts, fails=False):
        run = Run(playbook, testbed.inventory(hosts), tmp_path_factory.mktemp("run"))
        if not fails:
            return run.succeed()
        assert run.wait() == 2, run.output
        return run

    return play


def equip(host, gpus, library, directory):
    """Give the host a GPU: its PCI device, and unless it is the one without, the driver's library, nvidia-smi and the toolkit's hook."""
    if gpus is None:
        return
    has_driver = host.name != "nodriver"
    directory.mkdir()
    standin.lay(directory, library if has_driver else None, standin.description(gpus), smi=has_driver, driver="nvidia" if has_driver else None)
    host.run("mount", "-t", "tmpfs", "tmpfs", "/sys/bus/pci/devices")
    for place in sorted((directory / "sys/bus/pci/devices").iterdir()):
        (place / "driver").unlink(missing_ok=True)      # the engine's archives hold no links that lead out of them
        host.put(place, f"/root/pci/{place.name}")
        host.run("cp", "-a", f"/root/pci/{place.name}", "/sys/bus/pci/devices/")
        if has_driver:
            host.run("ln", "-s", "../../../../bus/pci/drivers/nvidia", f"/sys/bus/pci/devices/{place.name}/driver")
    if has_driver:
        host.put(directory / "usr", "/root/usr")
        host.run("sh", "-c", f"cp -a /root/usr/. /usr/ && touch /dev/nvidiactl && cp /opt/hooks/{HOOK} /usr/bin/")


def device_requests(host, plan, image):
    """What an engine makes of the planned server: its container's DeviceRequests and environment, created and started."""
    server = plan["server"]
    spec = container.ContainerSpecification(
        name="half_plus_two", image=image, release=plan["release"], address="127.0.0.1", grpc_port=8500, rest_port=None, grpc_socket_directory=None, models=(),
        flags={}, environment=server["environment"], secrets=None, files={}, cpu_set=None, memory_mib=None,
        devices=tuple(server["devices"]), user="", read_only=True, capabilities=(),
        restart_policy="no", log_max_mib=1, log_files=1, network="bridge")
    config = base64.b64encode(json.dumps(container.body(spec, "/var/lib/tfserving/half_plus_two", {}, trial=False)).encode()).decode()
    status, made = json.loads(host.run("sh", "-c", f"echo {config} | base64 -d | python3 -c \"{CREATE}\""))
    assert status == 0
    return made["HostConfig"]["DeviceRequests"], made["Config"]["Env"]


def test_classes_are_those_of_the_machines(found):
    assert {name: facts["classes"]["image"] for name, (_host, facts, _plan, _details) in found.items()} == {
        "plain": "x86-64-v3", "t4": "x86-64-v4-cc7", "mig": "x86-64-v3-cc8", "h200": "x86-64-v4-cc9", "nodriver": "x86-64-v4"}
    tuning = {name: facts["classes"]["tuning"] for name, (_host, facts, _plan, _details) in found.items()}
    assert tuning["t4"].endswith("-1xtesla.t4-15g") and tuning["h200"].endswith("-2xnvidia.h200-140g") and tuning["nodriver"].endswith("-1x10de.27b8")
    assert tuning["mig"].endswith("-1xnvidia.a100.sxm4.40gb-40g-mig-1g.5gb-2g.10gb-3g.20gb") and "x" not in tuning["plain"].rpartition("-")[2]


def test_details_are_told_on_request_and_are_no_facts(found):
    details = {name: details for name, (_host, _facts, _plan, details) in found.items()}
    assert details["plain"] == details["nodriver"] == [] and [len(details[name]) for name in ("t4", "mig", "h200")] == [1, 1, 2]
    assert details["t4"][0]["processes"] == [{"pid": 4242, "memory_mib": 1200}] and details["h200"][0]["nvlink"] == [{"peer": "0000:3b:00.0", "links": 2}]
    assert all("free_memory" not in json.dumps(facts) for _host, facts, _plan, _details in found.values())


def test_plans_name_the_right_images_and_devices(found):
    plans = {name: plan for name, (_host, _facts, plan, _details) in found.items()}
    assert {name: plan["image"] for name, plan in plans.items()} == {
        "plain": "tensorflow/serving:2.20.0", "t4": "tensorflow/serving:2.20.0-gpu", "mig": "tensorflow/serving:2.20.0-gpu",
        "h200": "tensorflow/serving:2.20.0-gpu", "nodriver": None}
    assert {name: len(plan["server"]["devices"]) for name, plan in plans.items()} == {"plain": 0, "t4": 1, "mig": 1, "h200": 2, "nodriver": 0}
    (refusal,) = plans["nodriver"]["refusals"]
    assert refusal["subject"] == "GPU" and refusal["reason"] == "no driver is bound to the GPU" and "Install NVIDIA's driver" in refusal["remedy"]
    assert not any(plan["refusals"] for name, plan in plans.items() if name != "nodriver")


@pytest.mark.parametrize("name", ["t4", "mig", "h200"])
def test_the_engine_is_asked_for_the_planned_devices(name, found, testbed, engine):
    host, facts, plan, _details = found[name]
    image = testbed.reference(images.base(engine))
    host.docker("pull", "--quiet", image)
    requests, environment = device_requests(host, plan, image)
    group = facts["gpus"][0]
    wanted = group["devices"][0]["mig_uuids"][:1] if group["mig"] else [device["uuid"] for device in group["devices"]]
    assert [(request["Driver"], request["DeviceIDs"], request["Capabilities"]) for request in requests] == [("nvidia", wanted, [["gpu"]])]
    assert "TF_FORCE_GPU_ALLOW_GROWTH=true" in environment and (f"CUDA_VISIBLE_DEVICES={wanted[0]}" in environment) == (name == "mig")


def test_a_server_that_does_not_use_its_gpu_is_not_put_in_place(found, play_once, serving_reference, models, tmp_path):
    """The image has TensorFlow for CPUs, so the server serves from the CPU, as TensorFlow Serving does where it sees no GPU."""
    host, _facts, plan, _details = found["t4"]
    host.put(models / "half_plus_two", "/srv/models/half_plus_two")
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [
        {"tfserving.fleet.model_server": {
            "name": "half_plus_two", "backend": "docker", "image": serving_reference, "release": "2.20.0", "model_name": "half_plus_two",
            "model_base_path": "/srv/models/half_plus_two", "devices": plan["server"]["devices"], "environment": plan["server"]["environment"]}}]}]))
    run = play_once(playbook, [host], fails=True)
    assert 'the gate \\"uses its GPU\\" is closed' in run.output or 'the gate "uses its GPU" is closed' in run.output, run.output
    assert "it serves from the CPU" in run.output and host.docker("ps", "--all", "--quiet", "--filter", "name=half_plus_two").strip() == ""


def test_a_hung_driver_ends_the_task_in_time_over_ssh(found, play_once, tmp_path):
    """Nothing of the child that hangs may keep SSH waiting. This comes last: it spoils the host."""
    host = found["t4"][0]
    for place in (f"/{standin.LIBRARY}", "/usr/bin"):
        host.run("sh", "-c", f"printf 'fault nvmlInit_v2 * hang\\nfault nvidia-smi * hang\\n' >>{place}/gpu.description")
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([dict(PLAY[0], roles=[], tasks=PLAY[0]["tasks"][1:])]))
    begun = time.monotonic()
    run = play_once(playbook, [host])
    assert time.monotonic() - begun < 30
    (group,) = results_of(run)["t4"]["facts"]["gpus"]
    assert "did not answer in time" in group["problem"] and group["device_id"] == "10de:1eb8" and "Traceback" not in run.output
