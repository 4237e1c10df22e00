# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook tfserving.fleet.plan, run by ansible-playbook: from a warm fact cache, without connections, for many hosts."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import tuning_files, tunings
from ansible_collections.tfserving.fleet.tests.support import modules

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "tests" / "unit" / "plan"))
import test_golden_plans as golden

CONFIGURATION = """[defaults]
gathering = explicit
inject_facts_as_vars = False
fact_caching = jsonfile
fact_caching_connection = {cache}
localhost_warning = False
"""
TASKS = """
from ansible.plugins.callback import CallbackBase
import json, os

class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, "aggregate", "count"
    counts = {}

    def v2_runner_on_start(self, host, task):
        self.counts[host.name] = self.counts.get(host.name, 0) + 1

    def v2_playbook_on_stats(self, stats):
        with open(os.environ["COUNTS"], "w") as stream:
            json.dump(self.counts, stream)
"""
JSON = """
from ansible.plugins.callback import CallbackBase
import json

class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, "stdout", "dump_json"
    results = []

    def v2_runner_on_ok(self, result):
        self.results.append({"host": result.host.name, "task": result.task.get_name(), "result": result.result})

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.v2_runner_on_ok(result)

    def v2_playbook_on_stats(self, stats):
        self._display.display(json.dumps(self.results, default=str))
"""
NOBODY_ANSWERS = {
    "ansible_connection": "ssh",
    "ansible_host": "192.0.2.1",
    "ansible_ssh_common_args": "-o ConnectTimeout=1",
    "tfserving_version": "2.20.0",
    "tfserving_models": [{"name": "digits"}],
}


class Fleet:
    """An inventory, its fact cache, and runs of the playbook over them."""

    def __init__(self, directory):
        self.directory = directory
        (directory / "cache").mkdir()
        (directory / "callbacks").mkdir()
        (directory / "callbacks" / "count.py").write_text(TASKS, encoding="utf-8")
        (directory / "callbacks" / "dump_json.py").write_text(JSON, encoding="utf-8")
        (directory / "ansible.cfg").write_text(CONFIGURATION.format(cache=directory / "cache"), encoding="utf-8")

    def known(self, name, machine):
        """Put the capabilities of a machine of the golden plans into the cache."""
        facts = {"tfserving_capabilities": golden.machine(**golden.CASES["machines"][machine])}
        (self.directory / "cache" / f"s1_{name}").write_text(
            json.dumps({"__payload__": json.dumps(facts)}), encoding="utf-8"
        )

    def run(self, hosts, *words, playbook="tfserving.fleet.plan", **variables):
        """(return code, output, tasks by host). hosts: {name: variables}."""
        inventory = {"all": {"hosts": hosts, "vars": dict(NOBODY_ANSWERS, **variables)}}
        (self.directory / "inventory.json").write_text(json.dumps(inventory), encoding="utf-8")
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        environment = dict(
            clean,
            ANSIBLE_CONFIG=str(self.directory / "ansible.cfg"),
            ANSIBLE_CALLBACK_PLUGINS=str(self.directory / "callbacks"),
            ANSIBLE_CALLBACKS_ENABLED="count",
            COUNTS=str(self.directory / "counts.json"),
            COLUMNS="150",
        )
        done = subprocess.run(
            [
                Path(sys.executable).parent / "ansible-playbook",
                "-i",
                self.directory / "inventory.json",
                playbook,
                *words,
            ],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            cwd=self.directory,
        )
        self.stdout = done.stdout
        return (
            done.returncode,
            done.stdout + done.stderr,
            json.loads((self.directory / "counts.json").read_text(encoding="utf-8")),
        )

    def written(self):
        """The plans that the last run wrote."""
        return json.loads((self.directory / "plan.json").read_text(encoding="utf-8"))


@pytest.fixture
def fleet(tmp_path):
    return Fleet(tmp_path)


def test_a_fleet_from_the_cache_without_connections(fleet):
    for name, machine in {"a": "haswell", "b": "zen4", "old": "avoton"}.items():
        fleet.known(name, machine)
    code, output, tasks = fleet.run(
        {name: {} for name in ("a", "b", "old")}, "-e", "tfserving_plan_path=plan.json", tfserving_plan_offline=True
    )
    assert code == 0 and "UNREACHABLE" not in output, output
    assert "PLAN for 3 hosts of 3 classes; refusals on 1" in output
    assert output.count("PLAN for") == 1
    assert re.search(
        r"REFUSED\s+image: the official image of 2.20.0 needs AVX.*Build an image for x86-64-v2",
        re.sub(r"\s+", " ", output),
    )
    plans = fleet.written()
    assert {name: plan["image"] for name, plan in plans.items()} == {
        "a": "tensorflow/serving:2.20.0",
        "b": "tensorflow/serving:2.20.0",
        "old": None,
    }
    assert sum(tasks.values()) <= 3 + 5


def test_offline_leaves_hosts_without_facts_alone(fleet):
    fleet.known("a", "haswell")
    code, output, _tasks = fleet.run({"a": {}, "new": {}}, "--tags", "offline", "-e", "tfserving_plan_path=plan.json")
    assert code == 0, output
    assert fleet.written()["new"] is None and "no plan: new" in output
    code, output, _tasks = fleet.run({"a": {}, "new": {}}, "-e", "tfserving_plan_path=plan.json")
    assert fleet.written()["new"] is None and "UNREACHABLE" in output
    assert "no plan: new" in output and "unknown what runs: the host cannot be reached [a, new]" in re.sub(
        r"\s+", " ", output
    ), output
    assert fleet.written()["a"]["image"] == "tensorflow/serving:2.20.0"


def test_a_host_that_is_not_known_is_detected_first(fleet):
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    code, output, _tasks = fleet.run({"here": here}, "-e", "tfserving_plan_path=plan.json")
    assert code == 0, output
    assert fleet.written()["here"]["release"] == "2.20.0"
    code, output, tasks = fleet.run({"here": here, "other": here}, "--limit", "here")
    assert code == 0 and "Detect the capabilities of the host" not in output, output


def test_the_role_plans_the_same_for_one_host_and_the_playbook_hands_its_plan_on(fleet):
    fleet.known("a", "h100")
    variables = {
        "tfserving_policies": [{"when": "gpus[?compute.major >= `8`]", "choose": {"goal": "bulk"}}],
        "tfserving_gpu": "require",
        "tfserving_flags": {"num_load_threads": 2},
    }
    handed_on = fleet.directory / "handed_on.json"
    (fleet.directory / "next.yml").write_text(
        json.dumps(
            [
                {
                    "hosts": "all",
                    "gather_facts": False,
                    "tasks": [
                        {
                            "ansible.builtin.copy": {
                                "content": "{{ tfs_capabilities_plan_result.plan }}",
                                "dest": str(handed_on),
                                "mode": "0644",
                            },
                            "delegate_to": "localhost",
                            "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
                        }
                    ],
                }
            ]
        ),
        encoding="utf-8",
    )
    fleet.run({"a": {}}, str(fleet.directory / "next.yml"), "-e", "tfserving_plan_path=plan.json", **variables)
    assert json.loads(handed_on.read_text(encoding="utf-8")) == fleet.written()["a"]
    (fleet.directory / "role.yml").write_text(
        json.dumps(
            [
                {
                    "hosts": "all",
                    "gather_facts": False,
                    "tasks": [
                        {
                            "ansible.builtin.include_role": {
                                "name": "tfserving.fleet.tfs_capabilities",
                                "tasks_from": "plan",
                            }
                        },
                        {
                            "ansible.builtin.copy": {
                                "content": "{{ tfs_capabilities_plan_result.plan }}",
                                "dest": str(fleet.directory / "role.json"),
                                "mode": "0644",
                            },
                            "delegate_to": "localhost",
                            "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
                        },
                    ],
                }
            ]
        ),
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            Path(sys.executable).parent / "ansible-playbook",
            "-i",
            fleet.directory / "inventory.json",
            fleet.directory / "role.yml",
        ],
        env=dict(os.environ, ANSIBLE_CONFIG=str(fleet.directory / "ansible.cfg")),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((fleet.directory / "role.json").read_text(encoding="utf-8")) == fleet.written()["a"]
    assert (
        fleet.written()["a"]["server"]["flags"]["num_load_threads"] == 2 and fleet.written()["a"]["server"]["devices"]
    )


def test_an_unreachable_neighbour_changes_no_plan(fleet):
    fleet.known("a", "zen3")
    fleet.run({"a": {}}, "-e", "tfserving_plan_path=plan.json")
    alone = fleet.written()["a"]
    fleet.run({"a": {}, "gone": {}, "b": {}}, "-e", "tfserving_plan_path=plan.json")
    assert fleet.written()["a"] == alone


def test_a_host_without_python_costs_no_other_its_plan(fleet):
    fleet.known("a", "zen3")
    broken = {"ansible_connection": "local", "ansible_python_interpreter": "/nonexistent/python3"}
    code, output, _tasks = fleet.run({"a": {}, "broken": broken}, "-e", "tfserving_plan_path=plan.json")
    assert code == 0 and "no plan: broken" in output, output
    assert fleet.written()["a"]["image"] and fleet.written()["broken"] is None


def test_the_difference_against_an_earlier_plan_and_check_mode(fleet):
    fleet.known("a", "haswell")
    fleet.run({"a": {}}, "-e", "tfserving_plan_path=plan.json")
    before = fleet.written()
    code, output, _tasks = fleet.run(
        {"a": {}},
        "--check",
        "--diff",
        "-e",
        "tfserving_plan_path=plan.json",
        "-e",
        "tfserving_plan_earlier=plan.json",
        tfserving_version="2.19.1",
    )
    assert code == 0 and fleet.written() == before, output
    assert "image: tensorflow/serving:2.20.0 -> tensorflow/serving:2.19.1   [a]" in output
    code, output, _tasks = fleet.run(
        {"a": {}}, "-e", "tfserving_plan_path=plan.json", "-e", "tfserving_plan_earlier=plan.json"
    )
    assert "CHANGED since the earlier plan\n  nothing" in output and "changed=0" in output


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"tfserving_goal": "fast"}, "tfserving_goal: 'fast' is not known; allowed: online, bulk"),
        ({"tfserving_policies": [{"when": "cpu.levle == 'x'", "choose": {"goal": "bulk"}}]}, "at character 5 of"),
        ({"tfs_capabilities_requst": {}}, "did you mean tfs_capabilities_request"),
        ({"tfserving_flgas": {}}, "tfserving_flgas: no such variable; did you mean"),
        (
            {"tfserving_version": 2.2},
            'tfserving_version: 2.2 is not a text. Write it in quotes: "2.2", or "2.20" if you wrote that',
        ),
        (
            {"tfserving_models": "{{ nowhere }}"},
            "tfserving_models: cannot evaluate the variable: 'nowhere' is undefined (on a)",
        ),
        (
            {"tfserving_optimize": "none"},
            "tfserving_optimize: no such variable. Set optimize for each model in tfserving_models (on a)",
        ),
        ({"tfserving_plan_path": "/proc/nowhere/plan.json"}, "path: cannot write '/proc/nowhere/plan.json'"),
    ],
)
def test_faults_are_one_clear_line(fleet, variables, words):
    fleet.known("a", "haswell")
    code, output, _tasks = fleet.run({"a": {}}, **variables)
    assert code != 0 and words in re.sub(r"\s+", " ", output)


VAULTED = "AKX-hunter2-3141"
ENVIRONMENT = "tfserving_policies[0].choose.environment: LICENSE looks like a secret, and the plan would show its value"
SHOWN = (
    "it is in a vault, and the plan would show it. Write it in plain text, or leave it out: only tfserving_environment"
)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ("tfserving_policies: [{when: 'cpu', choose: {environment: {LICENSE: V}}}]", ENVIRONMENT),
        ("tfserving_policies: [{when: 'gpus', choose: {environment: {LICENSE: V}}}]", ENVIRONMENT),
        (
            "tfserving_policies: [{when: 'cpu', choose: {flags: {num_load_threads: V}}}]",
            f"tfserving_policies[0].choose.flags.num_load_threads: {SHOWN}",
        ),
        ("tfserving_goal: V", f"tfserving_goal: {SHOWN}"),
        ("tfserving_flags: {num_load_threads: V}", f"tfserving_flags.num_load_threads: {SHOWN}"),
        ("tfserving_options: ['--enable_batching', V]", f"tfserving_options[1]: {SHOWN}"),
        (
            "tfserving_models: [{name: m, batching: {thread_pool_name: V}}]",
            "tfserving_models[0].batching.thread_pool_name",
        ),
        (
            "tfs_server_environment: {LICENSE: V}",
            "tfs_server_environment.LICENSE: it is in a vault, and the plan would show it. Set it in tfs_server_secret_environment",
        ),
        ("tfserving_environment: V", f"tfserving_environment: {SHOWN}"),
        ("tfserving_environment: {LICENSE: V, TF_X: '1'}", None),
    ],
)
def test_no_value_from_a_vault_is_shown(fleet, variables, words):
    secret = VaultSecret(b"password")
    sealed = VaultLib([("default", secret)]).encrypt(VAULTED, secret).decode()
    (fleet.directory / "password").write_text("password", encoding="utf-8")
    (fleet.directory / "more.yml").write_text(
        variables.replace(" V", f" !vault {json.dumps(sealed)}"), encoding="utf-8"
    )
    fleet.known("a", "haswell")
    more = ("--vault-password-file", "password", "-e", "@more.yml", "-e", "tfserving_plan_path=plan.json", "-vv")
    code, output, _tasks = fleet.run({"a": {}}, *more, tfserving_plan_offline=True)
    assert VAULTED not in output
    if words:
        assert code == 2 and words in re.sub(r"\s+", " ", output), output
        assert not (fleet.directory / "plan.json").exists()
        code, output, _tasks = fleet.run({"a": {}}, *more, playbook="tfserving.fleet.build")
        assert code == 2 and words in re.sub(r"\s+", " ", output) and VAULTED not in output
    else:
        assert code == 0 and fleet.written()["a"]["server"]["environment"] == {"TF_X": "1"}, output
        assert VAULTED not in (fleet.directory / "plan.json").read_text(encoding="utf-8")


def test_earlier_plans_that_are_none(fleet):
    fleet.known("a", "haswell")
    (fleet.directory / "last.json").write_text("[1]", encoding="utf-8")
    code, output, _tasks = fleet.run({"a": {}}, "-e", "tfserving_plan_earlier=last.json")
    assert code != 0 and "does not contain plans by host" in re.sub(r"\s+", " ", output)


def known_fleet(fleet, count):
    machines = list(golden.CASES["machines"])
    names = [f"host-{number:04}" for number in range(count)]
    for number, name in enumerate(names):
        fleet.known(name, machines[number % len(machines)])
    return names


def test_many_hosts_from_a_warm_cache_cost_one_task_each(fleet):
    names = known_fleet(fleet, 200)
    code, output, tasks = fleet.run({name: {} for name in names}, tfserving_plan_offline=True)
    assert code == 0, output[-2000:]
    assert "PLAN for 200 hosts" in output
    assert sorted(tasks) == names and sum(tasks.values()) <= len(names) + 5


class IdleEngine(http.server.BaseHTTPRequestHandler):
    """An engine without containers, as this machine's may run those of others."""

    ANSWERS = {
        "version": {"Version": "27.1.1", "ApiVersion": "1.46"},
        "info": {"Runtimes": {}},
        "_ping": "OK",
        "json": [],
    }

    def address_string(self):
        return "a Unix socket"

    def log_message(self, *words):
        pass

    def do_GET(self):
        body = json.dumps(self.ANSWERS[self.path.partition("?")[0].rpartition("/")[2]]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture()
def idle_engine():
    """The path of a socket at which an engine without containers answers; short, as socket paths must be."""
    with tempfile.TemporaryDirectory(prefix="idle") as directory:
        path = f"{directory}/engine.sock"
        with socketserver.ThreadingUnixStreamServer(path, IdleEngine) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield path
            server.shutdown()


def test_asking_what_runs_costs_one_task_a_host_and_another_where_it_changed(fleet, idle_engine):
    here = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "tfserving_state_directory": str(fleet.directory / "state"),
        "tfserving_engine_socket": idle_engine,
    }
    names = known_fleet(fleet, 6)
    code, output, tasks = fleet.run(dict.fromkeys(names, here))
    assert code == 0, output[-2000:]
    assert sum(tasks.values()) <= 2 * len(names) + 5 and "digits: would be served; no server serves it now" in output
    code, output, tasks = fleet.run(dict.fromkeys(names, here))
    assert code == 0 and sum(tasks.values()) <= len(names) + 5, tasks


def test_the_plan_names_a_tuning_whose_model_has_another_graph_now(fleet, idle_engine, model_directory):
    published = fleet.directory / "models" / "digits" / "saved_model" / "1"
    shutil.copytree(model_directory / "half_plus_two" / "1", published)
    graph = modules.call("saved_model_info", path=str(published))["saved_model"]["structure"]
    fleet.known("tuned", "haswell")
    fleet.known("other", "zen4")
    kept = {
        "protocol": "grpc",
        "form": "saved_model",
        "batching": {"max_batch_size": 8},
        "environment": {},
        "flags": {},
    }
    found = {
        "model": "digits",
        "backend": "docker",
        "image": "tensorflow/serving:2.20.0",
        "start": dict(kept, batching=None),
        "configuration": kept,
        "total": {"kept": True, "gain": 0.5, "gain_interval": (0.4, 0.6)},
        "method": {"confidence": 0.95, "concurrency": 8, "examples": None},
        "scatter": None,
    }
    here = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "tfserving_state_directory": str(fleet.directory / "state"),
        "tfserving_model_directory": str(fleet.directory / "models"),
        "tfserving_tunings_directory": str(fleet.directory / "tunings"),
        "tfserving_engine_socket": idle_engine,
    }
    hosts = {"tuned": here, "other": here}
    tuning_class = golden.machine(**golden.CASES["machines"]["haswell"])["classes"]["tuning"]

    def planned(structure, **more):
        record = tunings.kept(found, tuning_class, "2.20.0", "web-1", "2026-01-02 03:04 UTC", structure)
        tuning_files.write(record, str(fleet.directory / "tunings"))
        code, output, tasks = fleet.run(hosts, **more)
        assert code == 0, output[-2000:]
        return re.sub(r"\s+", " ", output), tasks

    output, tasks = planned(graph)
    assert "max_batch_size 8" in output and "other graph" not in output and tasks["tuned"] + tasks["other"] <= 10
    output, _tasks = planned(dict(graph, graph="0" * 16))
    assert "max_batch_size 8" in output and "other graph of the model" in output and "tfserving.fleet.tune" in output
    output, _tasks = planned(dict(graph, graph="0" * 16), tfserving_stale_tunings="fail")
    assert "other graph of the model" in output and "nothing is refused" not in output


def test_the_example_inventory_groups_by_class_and_is_planned(fleet):
    example = ROOT / "inventories" / "example"
    for name, machine in {
        "web-01": "haswell",
        "web-02": "zen4",
        "gpu-01": "h100",
        "gpu-02": "t4-without-toolkit",
        "batch-01": "skylake",
        "edge-01": "graviton3-bare",
    }.items():
        fleet.known(f"{name}.example.org", machine)
    environment = dict(
        {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        ANSIBLE_CONFIG=str(example / "ansible.cfg"),
        ANSIBLE_CACHE_PLUGIN_CONNECTION=str(fleet.directory / "cache"),
    )
    tools = Path(sys.executable).parent
    graph = subprocess.run(
        [tools / "ansible-inventory", "--list"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    groups = json.loads(graph.stdout)
    assert groups["tfserving_image_x86_64_v4_cc9"]["hosts"] == ["gpu-01.example.org"]
    assert groups["tfserving_engine_docker"]["hosts"] and "web-03.example.org" not in groups.get(
        "tfserving_engine_none", {}
    ).get("hosts", [])
    assert groups["tfserving_gpu"]["hosts"] == ["gpu-01.example.org", "gpu-02.example.org"]
    assert groups["tfserving_image_x86_64_v4"]["hosts"] == ["web-02.example.org", "batch-01.example.org"]
    kept = f"tfserving_plan_path={fleet.directory / 'plan.json'}"
    done = subprocess.run(
        [tools / "ansible-playbook", "tfserving.fleet.plan", "--tags", "offline", "-e", kept],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    plans = fleet.written()
    assert len(plans) == 13 and sum(plan is None for plan in plans.values()) == 7
    assert plans["gpu-01.example.org"]["models"][0]["batching"]["max_execution_batch_size"] == 128
    assert [refusal["subject"] for refusal in plans["gpu-02.example.org"]["refusals"]] == ["GPU"]
    assert plans["edge-01.example.org"]["backend"] == "embedded"


def test_settings_of_the_users_ansible_cfg_cost_no_host_its_plan(fleet):
    """One host cannot be detected; docs.ansible.com, configuration settings: both end a run at the first fault, or let hosts run ahead."""
    configuration = (fleet.directory / "ansible.cfg").read_text(encoding="utf-8")
    (fleet.directory / "ansible.cfg").write_text(
        configuration.replace("[defaults]", "[defaults]\nany_errors_fatal = True\nstrategy = free"), encoding="utf-8"
    )
    local = {"ansible_connection": "local"}
    hosts = {
        name: dict(local, ansible_python_interpreter=python)
        for name, python in (("good", sys.executable), ("bad", "/no/python"))
    }
    code, output, _tasks = fleet.run(hosts, "-e", "tfserving_plan_path=plan.json")
    assert code == 0 and "is undefined" not in output, output
    assert (
        fleet.written()["bad"] is None
        and fleet.written()["good"]["release"] == "2.20.0"
        and output.count("PLAN for") == 1
    )


@pytest.mark.parametrize("display", [True, False])
def test_what_reads_the_output_gets_nothing_but_what_its_callback_wrote(fleet, display):
    """Every byte of standard output is JSON, as with ansible.posix.json, whether the table is switched off or not; the result has it."""
    fleet.known("a", "haswell")
    configuration = fleet.directory / "ansible.cfg"
    configuration.write_text(
        configuration.read_text(encoding="utf-8").replace("[defaults]", "[defaults]\nstdout_callback = dump_json"),
        encoding="utf-8",
    )
    code, output, _tasks = fleet.run(
        {"a": {}}, "--tags", "offline", "-e", f"tfserving_plan_display={display}", "-e", "tfserving_plan_path=plan.json"
    )
    assert code == 0, output
    (told,) = [one["result"] for one in json.loads(fleet.stdout) if "table" in one["result"]]
    assert "PLAN for 1 host" in told["table"] and told["plans"] == fleet.written()


def test_the_table_can_be_switched_off(fleet):
    fleet.known("a", "haswell")
    code, output, _tasks = fleet.run({"a": {}}, "--tags", "offline", "-e", "tfserving_plan_display=false")
    assert code == 0 and "PLAN for" not in output, output
