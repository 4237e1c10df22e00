# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded server that root starts: as whom it runs, and which models its clients can make it load. /proc/PID/status says who a process is (proc(5))."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.tests.security.conftest import NOBODY
from ansible_collections.tfserving.fleet.tests.support import made, modules

grpc = pytest.importorskip("grpc")

from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import grpc_api, wire

pytestmark = pytest.mark.usefixtures("two_accounts")
MODELS = Path(__file__).resolve().parents[1] / "integration" / "make_models.py"


@pytest.fixture
def server(open_path, python):
    """serve(**options): the result of model_server for a model that every account can read. What it started ends with the test."""
    shutil.copytree(made.by_program(MODELS) / "half_plus_two", open_path / "models" / "half", dirs_exist_ok=True)
    subprocess.run(["chmod", "-R", "u=rwX,go=rX", open_path / "models"], check=True)
    options = {
        "name": "half",
        "backend": "embedded",
        "python": python,
        "models": [{"name": "half", "base_path": str(open_path / "models" / "half")}],
        "state_directory": open_path / "state",
        "environment": {"CUDA_VISIBLE_DEVICES": "-1"},
        "ready_timeout_s": 240,
    }
    yield lambda **more: modules.call("model_server", **{**options, **more})
    modules.call("model_server", name="half", backend="embedded", state="absent", state_directory=open_path / "state")


def accounts_of(pid):
    """({UIDs, GIDs}, supplementary groups) of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return {int(one) for one in re.findall(r"\d+", re.search(r"Uid:(.*)\nGid:(.*)", status)[0])}, re.search(
        r"Groups:(.*)", status
    )[1].split()


def reload(port, base_path, name="m"):
    """(code, text) of a client's request to serve another model."""
    request = wire.message("tensorflow.serving.ReloadConfigRequest")()
    request.config.model_config_list.config.add(name=name, base_path=str(base_path), model_platform="tensorflow")
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            channel.unary_unary(grpc_api.RELOAD_CONFIG)(request.SerializeToString(), timeout=60)
        except grpc.RpcError as fault:
            return fault.code().name, fault.details()
    return "OK", ""


def test_server_that_root_starts(server, open_path):
    started = server()
    assert not started.get("failed"), started
    pid, port = started["server"]["pid"], started["server"]["grpc_port"]
    assert accounts_of(pid) == ({NOBODY}, [])
    assert os.stat(open_path / "state" / "servers" / "half" / "server.pid").st_uid == 0
    planted = open_path / "planted"
    shutil.copytree(open_path / "models" / "half", planted)
    (open_path / "models" / "half" / "way").symlink_to(planted)
    for elsewhere in (
        planted,
        open_path / "models" / "half" / ".." / ".." / "planted",
        open_path / "models" / "half" / "way",
        "/",
    ):
        code, text = reload(port, elsewhere)
        assert code == "PERMISSION_DENIED" and "half" not in text.partition("base_path()")[0], (code, text)
    forged = f"\n2026-11-30 10:00:00.000000: E tfserving_fleet/embedded/main.py:1] Forged by a client\nFatal: {planted}"
    assert reload(port, f"{planted}{forged}")[0] == "PERMISSION_DENIED"
    assert reload(port, open_path / "models" / "half", name=f"m{forged}")[0] in ("OK", "INVALID_ARGUMENT")
    log = Path(started["server"]["log"]).read_text(encoding="utf-8")
    assert "Forged by a client" in log and not re.search(r"^(2026-11-30 10:00:00|Fatal)", log, re.MULTILINE)
    assert reload(port, open_path / "models" / "half") == ("OK", "")
    assert not server()["changed"]  # The account is the same one at each run.
    other = server(flags={"rest_api_timeout_in_ms": 10000})
    assert other["changed"] and accounts_of(other["server"]["pid"]) == ({NOBODY}, []), other


@pytest.mark.parametrize("hidden", ["python", "models", "a file of a model", "state"])
def test_without_an_account_that_can_read_what_is_needed(server, python, open_path, hidden):
    (open_path / "state").mkdir()
    version = next((open_path / "models" / "half").glob("[0-9]*"))
    path = {
        "python": python,
        "models": open_path / "models",
        "a file of a model": version / "saved_model.pb",
        "state": open_path / "state",
    }[hidden]
    path.chmod(0o700)
    for check in (True, False):
        refused = server(check=check)
        assert refused["failed"] and f"user {NOBODY} cannot read " in refused["msg"], refused
        assert "embedded_allow_root" in refused["msg"] and "\n" not in refused["msg"]
    if hidden == "python":
        started = server(embedded_allow_root=True)
        assert accounts_of(started["server"]["pid"])[0] == {0}
        assert reload(started["server"]["grpc_port"], open_path / "planted")[0] == "PERMISSION_DENIED"


def test_account_that_owns_the_models(server, open_path):
    subprocess.run(["chown", "-R", "1234:1234", open_path / "models" / "half"], check=True)
    (open_path / "models" / "half").chmod(0o700)
    started = server()
    assert accounts_of(started["server"]["pid"]) == ({1234}, [])
    refused = server(user="root")
    assert refused["failed"] and "would run as root" in refused["msg"], refused
