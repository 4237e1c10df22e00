# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole path under an ansible.cfg of a user that changes what playbooks like to depend on (docs.ansible.com, Ansible configuration settings)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ansible")
yaml = pytest.importorskip("yaml")

PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"

SETTINGS = """[defaults]
any_errors_fatal = True
strategy = free
error_on_missing_handler = True
gathering = explicit
forks = 1
callback_result_format = yaml
inject_facts_as_vars = False
duplicate_dict_key = error
force_handlers = True
localhost_warning = False
"""


@pytest.fixture
def play(tmp_path, model_directory):
    """play(playbook, variables): the output of a playbook of the collection over this machine as one host, whose programs run with LC_ALL=C."""
    python = tmp_path / "python-in-c"
    python.write_text(f'#!/bin/sh\nunset LANG LANGUAGE\nLC_ALL=C exec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    (tmp_path / "ansible.cfg").write_text(SETTINGS, encoding="utf-8")
    host = {
        "ansible_connection": "local",
        "ansible_python_interpreter": str(python),
        "tfserving_python": sys.executable,
        "tfserving_backend": "embedded",
        "tfserving_embedded_allow_root": True,
        "tfserving_version": "2.20.0",
        "tfserving_models": [
            {"name": "half", "source": str(model_directory / "half_plus_two" / "1"), "optimize": "none"}
        ],
        "tfs_server_grpc_port": 0,
        "tfs_server_rest_port": 0,
        "tfs_tuning_models": [],  # Measuring takes long, and the settings reach none of it.
        **{f"tfserving_{name}_directory": str(tmp_path / name) for name in ("model", "state", "tunings", "report")},
    }
    (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": {"höst": host}}}), encoding="utf-8")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}

    def run(playbook, **variables):
        done = subprocess.run(
            [
                Path(sys.executable).parent / "ansible-playbook",
                "-i",
                "inventory.json",
                playbook,
                "-e",
                json.dumps(variables),
            ],
            cwd=tmp_path,
            env=dict(
                clean,
                ANSIBLE_CONFIG=str(tmp_path / "ansible.cfg"),
                ANSIBLE_HOME=str(tmp_path / "home"),
                LC_ALL="C.UTF-8",
            ),
            capture_output=True,
            text=True,
            check=False,
            timeout=1200,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    yield run
    run("tfserving.fleet.deploy", tfs_server_state="absent")


def test_detecting_planning_converting_tuning_serving_and_reporting_work_under_any_settings(play, tmp_path):
    said = play("tfserving.fleet.site")
    assert "PLAN for 1 host" in said and "undefined" not in said and "half: saved_model" in said
    assert (tmp_path / "report" / "report.json").exists() and list((tmp_path / "model" / "half").iterdir())


@pytest.mark.parametrize("path", sorted(PLAYBOOKS.glob("*.yml")), ids=lambda path: path.stem)
def test_every_play_names_the_strategy_that_it_depends_on(path):
    """Tasks that add hosts or run once are for the strategy linear: docs.ansible.com, Controlling playbook execution. So host_pinned and free are alike."""
    plays = [play for play in yaml.safe_load(path.read_text(encoding="utf-8")) if "hosts" in play]
    assert [play["name"] for play in plays if play.get("strategy") != "linear"] == []
