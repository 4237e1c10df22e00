# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of hosts in three classes and two builders, each with an engine of its own: three builds, by registry or by archives."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.tests.docker import image_parts as parts

CPUINFO = Path(__file__).resolve().parents[1] / "fixtures" / "capability" / "cpuinfo"
# host: its CPU and level. Two hosts share a class.
TARGETS = {
    "sandy": ("intel_sandybridge", "x86-64-v2"),
    "ivy": ("intel_ivybridge", "x86-64-v2"),
    "zen": ("amd_zen", "x86-64-v3"),
    "zen4": ("amd_zen4", "x86-64-v4"),
}
NAMES_OF = {
    "x86-64-v2": {"SSE4.2"},
    "x86-64-v3": {"SSE4.2", "AVX", "AVX2", "FMA"},
    "x86-64-v4": {"SSE4.2", "AVX", "AVX2", "FMA", "AVX512F"},
}
LOGS = "/var/lib/tfserving/build/logs"


class ImageFleet:
    """The hosts, and what a play over them needs. The role tfs_image plans them itself."""

    def __init__(self, testbed, engine, directory):
        self.empty = (
            f"{testbed.registry.address}/{uuid.uuid4().hex[:12]}"  # what was pushed to a registry stays from run to run
        )
        materials = parts.Materials(testbed, engine, directory)
        builders = materials.builders("build1", "build2")
        targets = testbed.hosts(
            {name: {"cpuinfo": CPUINFO / f"{machine}.txt"} for name, (machine, _level) in TARGETS.items()}
        )
        self.builders, self.targets = {host.name: host for host in builders}, {host.name: host for host in targets}
        self.hosts = builders + targets
        self.playbook = directory / "build.yml"
        kept = f"{directory}/{{{{ inventory_hostname }}}}.json"
        self.playbook.write_text(
            json.dumps(
                [
                    {
                        "hosts": "all",
                        "gather_facts": False,
                        "vars": {
                            "tfserving_version": parts.RELEASE,
                            "tfserving_models": [{"name": "m"}],
                            "tfserving_backend": "docker",
                            "tfserving_build_sources": materials.sources,
                            "tfserving_build_base_images": materials.bases,
                            "tfserving_build": "{{ inventory_hostname not in tfserving_image_builders }}",
                            "tfserving_image_builders": list(self.builders),
                            "tfs_image_controller_directory": str(directory / "controller"),
                            "tfserving_image_build": {
                                "memory_per_job_mib": 256,
                                "memory_reserve_mib": 256,
                                "disk_mib": 1000,
                            },
                        },
                        "tasks": [
                            {"ansible.builtin.include_role": {"name": "tfserving.fleet.tfs_image"}},
                            {
                                "ansible.builtin.copy": {
                                    "content": "{{ tfs_image_result | to_json }}",
                                    "dest": kept,
                                    "mode": "0644",
                                },
                                "vars": {
                                    "ansible_connection": "local",
                                    "ansible_become": False,
                                    "ansible_python_interpreter": sys.executable,
                                },
                                "delegate_to": "localhost",
                                "changed_when": False,
                            },
                        ],
                    }
                ]
            ),
            encoding="utf-8",
        )

    def results(self):
        """{host: tfs_image_result} of the last run."""
        return {
            host.name: json.loads((self.playbook.parent / f"{host.name}.json").read_text(encoding="utf-8"))
            for host in self.hosts
        }

    def images(self, host):
        return sorted(
            line
            for line in host.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
            if line.startswith("tfserving-fleet/serving:")
        )

    def logs(self):
        """{name of a build's log: text} over all builders."""
        found = {}
        for host in self.builders.values():
            for name in host.run("sh", "-c", f"ls {LOGS} 2>/dev/null || true").split():
                assert name not in found, f"two builders built {name}"
                found[name] = host.run("cat", f"{LOGS}/{name}")
        return found

    def forget_images(self):
        """All hosts as before the first run, but for the compiler's cache and the base images."""
        for host in self.hosts:
            host.run(
                "sh",
                "-c",
                f"docker images --quiet --filter label=org.tfserving.fleet.recipe | xargs -r docker rmi --force >/dev/null; rm -rf {LOGS}",
            )


@pytest.fixture(scope="module")
def image_fleet(testbed, engine, tmp_path_factory):
    return ImageFleet(testbed, engine, tmp_path_factory.mktemp("fleet"))


def check(image_fleet):
    """Each host has the image of its class and nothing else of ours, and the image does what its label says."""
    results, found = image_fleet.results(), set()
    for name, host in image_fleet.targets.items():
        (image,) = image_fleet.images(host)
        found.add(image)
        assert f"{parts.RELEASE}-{TARGETS[name][1]}-" in image and results[name]["image"] == image
    assert len(found) == 3
    return results


@pytest.mark.parametrize("way", ["registry", "archives"])
def test_three_classes_are_built_once_each(image_fleet, play, way):
    image_fleet.forget_images()
    arguments = ["-e", f"tfserving_image_registry={image_fleet.empty}"] if way == "registry" else []
    play(image_fleet.playbook, image_fleet.hosts, *arguments).succeed()
    results = check(image_fleet)
    for name, (_machine, level) in TARGETS.items():
        assert results[name]["proof"]["conclusive"] and not NAMES_OF[level] & set(results[name]["proof"]["unused"])
    logs = image_fleet.logs()
    assert len(logs) == 3 and {text.count("Compiling with") for text in logs.values()} == {1}
    assert sorted(len(results[name]["built"]) for name in image_fleet.builders) == [1, 2]
    again = play(image_fleet.playbook, image_fleet.hosts, *arguments).succeed()
    assert {counts["changed"] for counts in again.recap.values()} == {0}, again.output[-3000:]
    assert image_fleet.logs() == logs
    check(image_fleet)
