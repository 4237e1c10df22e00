# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role tfs_tuning and its module where nothing is measured: what is missing or intended is said, and nothing is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: tfserving.fleet.tfs_capabilities, tasks_from: "{{ item }}"}
      loop: "{{ before }}"
    - ansible.builtin.include_role: {name: tfserving.fleet.tfs_tuning}
"""

MODULE = """
- hosts: all
  gather_facts: false
  tasks:
    - tfserving.fleet.tuning:
        name: linked
        model_directory: "{{ models }}"
        samples: "{{ models }}/samples.jsonl"
        state_directory: "{{ tfserving_state_directory }}"
        cpus: "0-1"
        candidates: [{name: clients from REST to gRPC, change: {protocol: grpc}, reason: it has less to parse}]
        start: "{{ start | default({}) }}"
        metric: "{{ metric | default(omit) }}"
        traffic: "{{ traffic | default(omit) }}"
        goal: "{{ goal | default(omit) }}"
"""


def play(directory, text=PLAY, *options, **variables):
    """(exit status, what a play over this machine says)."""
    (directory / "play.yml").write_text(text, encoding="utf-8")
    given = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "tfserving_state_directory": str(directory / "state"),
        "tfserving_models": [{"name": "unasked", "source": "/srv/sources/unasked"}],
        "before": [],
        **variables,
    }
    (directory / "inventory.json").write_text(json.dumps({"all": {"hosts": {"here": given}}}), encoding="utf-8")
    command = [
        os.path.join(os.path.dirname(sys.executable), "ansible-playbook"),
        "-i",
        "inventory.json",
        "play.yml",
        *options,
    ]
    done = subprocess.run(
        command,
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=dict(os.environ, ANSIBLE_NOCOLOR="1", ANSIBLE_HOME=str(directory / "home")),
    )
    return done.returncode, done.stdout + done.stderr


def test_a_host_that_no_play_planned_before_is_planned_by_the_role_and_fails_if_nothing_can_be_measured(tmp_path):
    status, said = play(tmp_path)
    assert status == 2 and "unasked: without samples the role sends the requests of the model's warm-up file" in said, (
        said
    )
    assert "unasked: no published variant of the model" in said and "Publish it first" in said, said
    assert not (tmp_path / "state").exists()


def test_without_an_inventory_file_the_tuning_fails_before_it_measures_and_says_which_variable_to_set(tmp_path):
    (tmp_path / "play.yml").write_text(PLAY, encoding="utf-8")
    given = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "before": [],
        "tfserving_state_directory": str(tmp_path / "state"),
        "tfserving_models": [{"name": "digits", "samples": "/srv/samples.npz"}],
    }
    done = subprocess.run(
        [
            os.path.join(os.path.dirname(sys.executable), "ansible-playbook"),
            "-i",
            "here,",
            "play.yml",
            "-e",
            json.dumps(given),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=dict(os.environ, ANSIBLE_HOME=str(tmp_path / "home")),
    )
    assert (
        done.returncode == 2
        and "Set tfserving_tunings_directory to a folder on the controller." in done.stdout + done.stderr
    ), done.stdout
    assert not (tmp_path / "state").exists()


def test_forms_that_are_links_to_folders_count_and_other_files_do_not(tmp_path):
    models = tmp_path / "models"
    (models / "linked").mkdir(parents=True)
    (models / "linked" / "saved_model").write_text("no folder", encoding="utf-8")
    status, said = play(tmp_path, MODULE, models=str(models))
    assert status == 2 and "linked: no published variant of the model in" in said, said
    status, said = play(tmp_path, MODULE, "--check", "-v", models=str(models))
    assert (
        status == 0
        and "contains no published variant of the model. Publish one before you run without check mode" in said
    ), said
    (models / "linked" / "saved_model").unlink()
    (tmp_path / "elsewhere" / "1").mkdir(parents=True)
    (models / "linked" / "saved_model").symlink_to(tmp_path / "elsewhere")
    status, said = play(tmp_path, MODULE, "--check", "-v", models=str(models))
    assert status == 0 and "Measure clients from REST to gRPC: it has less to parse" in said, said
    for wrong, words in (
        ({"start": {"form": "nix"}}, "start.form: 'nix' is not known; allowed: saved_model."),
        ({"start": {"batching": {"max_bach": 1}}}, "start.batching.parameter: 'max_bach' is not known"),
        ({"metric": "function"}, "metric_function: it must be set together with metric: function."),
        ({"traffic": {"concurrency": "many"}}, "traffic.concurrency: 'many' is not a whole number."),
        ({"goal": "latency"}, "traffic: the goal latency needs the rate of the requests."),
        ({"goal": "cheap"}, "goal"),
    ):
        status, said = play(tmp_path, MODULE, "--check", models=str(models), **wrong)
        assert status == 2 and words in said, said
    assert not (tmp_path / "state").exists()


def test_trial_servers_use_the_engine_of_the_host(tmp_path):
    """A host with rootless Podman also may have Docker, which its servers do not use."""
    (tmp_path / "models" / "m" / "saved_model" / "1").mkdir(parents=True)
    servers = tmp_path / "state" / "servers"
    for name in ("m", "m-trial-0123abcd", "m2-trial-0123abcd"):
        (servers / name).mkdir(parents=True)
    status, said = play(
        tmp_path,
        tfserving_models=[{"name": "m", "source": "/srv/sources/m"}],
        tfserving_model_directory=str(tmp_path / "models"),
        tfserving_engine_socket="/nonexistent/of-the-host.sock",
        tfserving_backend="embedded",  # so that there is a plan; the trial servers have another backend
        tfs_tuning_backend="docker",
        tfs_tuning_image="tensorflow/serving:2.20.0",
        tfs_tuning_candidates=[{"name": "threads", "change": {"flags": {"tensorflow_intra_op_parallelism": 1}}}],
    )
    assert status == 2 and "/nonexistent/of-the-host.sock" in said, said
    left = {path.name for path in servers.iterdir() if not path.name.startswith(".")}
    assert {"m", "m2-trial-0123abcd"} <= left and "m-trial-0123abcd" not in left, "it is of a tuning that was killed"


def test_a_model_that_cannot_be_measured_costs_the_others_nothing(tmp_path):
    def tuned(*models):
        return play(
            tmp_path,
            PLAY,
            "--check",
            before=["main", "plan"],
            tfs_tuning_start={},
            tfserving_models=[
                {"name": name, "source": f"/srv/sources/{name}", "samples": "/srv/samples.npz", **more}
                for name, more in models
            ],
        )

    bad = {"metric": "function"}
    status, said = tuned(("bad", bad), ("good", {}))
    assert (
        status == 0
        and "bad cannot be measured, so an earlier tuning stays, or else the configuration of the plan: metric_function: it must be set together with"
        in said
    ), said
    status, said = tuned(("bad", bad), ("worse", bad))
    assert status == 2 and "metric_function: it must be set together with metric: function" in said, said


def test_a_model_can_have_its_own_traffic_and_goal(tmp_path):
    models = [
        ("misspelled", {"traffic": {"concurency": 4}}),
        ("unsized", {"traffic": {"batch_sizes": {0: 1}}}),
        ("unhurried", {"tuning_goal": "latency", "traffic": {"concurrency": 4}}),
        ("good", {"tuning_goal": "latency"}),
    ]
    status, said = play(
        tmp_path,
        PLAY,
        "--check",
        before=["main", "plan"],
        tfs_tuning_start={},
        tfserving_traffic={"batch_sizes": {1: 0.9, 16: 0.1}, "rate_rps": 50},
        tfserving_models=[{"name": name, "source": "/srv/m", "samples": "/s.npz", **more} for name, more in models],
    )
    assert status == 0 and "misspelled, unsized, unhurried cannot be measured" in said, said
    for text in (
        "traffic: 'concurency' is not known; allowed: ",
        "traffic.batch_sizes: 0 is out of range; allowed: 1 to 1000000.",
        "traffic: the goal latency needs the rate of the requests.",
    ):
        assert text in said, said
    status, said = play(tmp_path, PLAY, "--check", tfserving_tuning_goal="cheap", tfserving_traffic="fast")
    assert status == 2 and "tfs_tuning_goal: 'cheap' is not known; allowed: goodput, latency" in said, said
