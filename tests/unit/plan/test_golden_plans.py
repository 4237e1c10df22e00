# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Golden plans: tests/fixtures/plan/cases.yml against what its authors expected, and against the plans kept in golden/.

After a wanted change: python tests/unit/plan/test_golden_plans.py writes golden/ anew. Read the difference before it is committed.
"""

from __future__ import annotations

import functools
import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))
    importlib.import_module("conftest")  # makes the collection importable

from ansible_collections.tfserving.fleet.plugins.module_utils._capability.classes import classes
from ansible_collections.tfserving.fleet.plugins.module_utils._capability.cpuinfo import read
from ansible_collections.tfserving.fleet.plugins.module_utils._image import microarchitectures
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import plan as plans

plan = functools.partial(plans.plan, microarchitectures=microarchitectures.known())

yaml = pytest.importorskip("yaml")
FIXTURES = ROOT / "tests" / "fixtures"
CASES = yaml.safe_load((FIXTURES / "plan" / "cases.yml").read_text(encoding="utf-8"))
NAMES = [case["name"] for case in CASES["cases"]]


def machine(
    cpuinfo,
    cpus,
    usable=None,
    affinity=None,
    engine="docker",
    version="24.0.7",
    answers=True,
    reason=None,
    runtimes=("runc",),
    cdi=(),
    gpus=(),
):
    """The capabilities of a machine of cases.yml."""
    found = read((FIXTURES / "capability" / "cpuinfo" / f"{cpuinfo}.txt").read_text(encoding="utf-8"))
    affinity = affinity or f"0-{cpus - 1}"
    first, _dash, last = affinity.partition("-")
    cpu = dict(
        found["cpu"],
        sockets=1,
        cores=cpus,
        threads=cpus,
        numa_nodes=1,
        affinity=affinity,
        cpuset=None,
        quota=usable,
        usable=usable or float(int(last) - int(first) + 1),
    )
    described = {
        "schema": 1,
        "architecture": found["architecture"],
        "cpu": cpu,
        "memory": {"total_mib": 64000, "limit_mib": None, "usable_mib": 64000},
        "gpus": _gpus(gpus),
        "container": {
            "engine": engine,
            "version": version if engine else None,
            "api_version": None,
            "socket": None,
            "answers": bool(engine) and answers,
            "reason": reason,
            "runtimes": list(runtimes) if engine else [],
            "cdi_directories": list(cdi),
        },
        "os": {"distribution": "debian", "version": "12", "kernel": "6.1.0", "init": "systemd", "libc": None},
        "virtualization": {"kind": None, "container": None},
        "python": {"version": "3.11.2", "executable": "/usr/bin/python3"},
    }
    return dict(described, classes=classes(described))


# PCI device ids of the GPUs of cases.yml by compute capability: K80, GTX 1080, V100, T4, A100, L4, H100, B200 (pci-ids.ucw.cz). Unknown: a T4.
DEVICE_IDS = {
    "3.7": "102d",
    "6.1": "1b80",
    "7.0": "1db4",
    "7.5": "1eb8",
    "8.0": "20b0",
    "8.9": "27b8",
    "9.0": "2330",
    "10.0": "2901",
}


def _gpus(described):
    """The GPUs as the capabilities list them: identical ones as one group with its devices."""
    groups = {}
    for number, gpu in enumerate(described):
        compute, driver, bound = (
            gpu["compute"] and str(gpu["compute"]),
            gpu["driver"] and str(gpu["driver"]),
            gpu.get("bound", "nvidia"),
        )
        major, _dot, minor = (compute or "").partition(".")
        group = groups.setdefault(
            (compute, driver, bound),
            {
                "product": None,
                "family": None,
                "compute": {"major": int(major), "minor": int(minor)} if compute else None,
                "memory_mib": None,
                "count": 0,
                "device_id": f"10de:{DEVICE_IDS.get(compute, '1eb8')}",
                "driver": bound,
                "driver_version": driver,
                "cuda_version": None,
                "ecc": None,
                "mig": None,
                "problem": None,
                "devices": [],
            },
        )
        group["count"] += 1
        group["devices"].append(
            {
                "pci_bus_id": f"0000:0{number + 1}:00.0",
                "uuid": f"GPU-{number}" if compute else None,
                "index": number if compute else None,
                "numa_node": 0,
                "cpu_affinity": None,
                "mig_uuids": None,
            }
        )
    return list(groups.values())


def made(case):
    """The plan of a case."""
    return plan(machine(**CASES["machines"][case["machine"]]), request(case))


def request(case):
    """The whole request of a case: 2.20.0 and one model, unless it says otherwise."""
    asked = dict(case["request"])
    model = dict(
        {"name": "digits", "signatures": CASES["signatures"][case.get("signature", "images")]}, **asked.pop("model", {})
    )
    return dict({"version": "2.20.0", "models": [model]}, **asked)


def readable(case, plan_made):
    """The golden file: the plan, its sentences as lines."""
    shown = dict(
        {key: plan_made[key] for key in ("host_class", "release", "backend", "image", "build", "models", "server")},
        why=[f"{item['subject']}: {item['choice']} -- {item['reason']}" for item in plan_made["decisions"]],
        to_try=[{item["name"]: item["change"]} for item in plan_made["candidates"]],
        mind=plan_made["warnings"],
        refused=[dict(item, change=item["change"]) for item in plan_made["refusals"]],
    )
    asked = dict(
        request(case),
        models=[
            {key: value for key, value in model.items() if key != "signatures"} for model in request(case)["models"]
        ],
    )
    head = f"# {case['name'].replace('-', ' ')}\n---\n"
    return head + yaml.dump(
        {"machine": dict(CASES["machines"][case["machine"]]), "request": asked, "plan": shown},
        Dumper=_Indented,
        sort_keys=False,
        width=100,
        allow_unicode=True,
    )


class _Indented(yaml.SafeDumper):
    """Lists indented below their key, as this project writes YAML; no anchors."""

    def increase_indent(self, flow=False, indentless=False):
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data):
        return True


@pytest.mark.parametrize("case", CASES["cases"], ids=NAMES)
def test_plan_is_what_was_expected(case):
    found, expected = made(case), case["expect"]
    assert [refusal["subject"] for refusal in found["refusals"]] == expected.get("refused", [])
    for key in ("backend", "release"):
        if key in expected:
            assert found[key] == expected[key]
    if expected.get("image") == "own":
        assert found["image"] == found["build"]["image"]
    elif "image" in expected:
        assert (found["image"], found["build"]) == (expected["image"], None)
    options = found["build"]["devel"]["arguments"]["TF_SERVING_BUILD_OPTIONS"] if found["build"] else ""
    assert not [word for word in expected.get("options", []) if word not in options]
    assert not [word for word in expected.get("without", []) if word in options]
    if "forms" in expected:
        assert [model["form"] for model in found["models"]] == expected["forms"]
    if "devices" in expected:
        assert len(found["server"]["devices"]) == expected["devices"]
    if "cpu_set" in expected:
        assert found["server"]["cpu_set"] == expected["cpu_set"]
    assert {name: found["server"]["flags"].get(name) for name in expected.get("flags", {})} == expected.get("flags", {})
    assert not set(expected.get("no_flags", [])) & set(found["server"]["flags"])
    names = [candidate["name"] for candidate in found["candidates"]]
    assert [name for name in names if name in expected.get("tries", [])] == expected.get("tries", [])
    assert not set(expected.get("not_tries", [])) & set(names)


@pytest.mark.parametrize("case", CASES["cases"], ids=NAMES)
def test_plan_is_the_golden_one(case):
    assert readable(case, made(case)) == (FIXTURES / "plan" / "golden" / f"{case['name']}.yml").read_text(
        encoding="utf-8"
    )


def test_there_is_no_golden_plan_without_its_case():
    assert sorted(path.stem for path in (FIXTURES / "plan" / "golden").iterdir()) == sorted(NAMES)
    assert len(NAMES) >= 60


if __name__ == "__main__":
    for golden_case in CASES["cases"]:
        (FIXTURES / "plan" / "golden" / f"{golden_case['name']}.yml").write_text(
            readable(golden_case, made(golden_case)), encoding="utf-8"
        )
