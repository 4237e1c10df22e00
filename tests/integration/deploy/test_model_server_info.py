# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What model_server_info returns without an engine and without a server, because a rollback depends on it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("ansible")

from ansible_collections.tfserving.fleet.plugins.module_utils._engine import sockets
from ansible_collections.tfserving.fleet.plugins.modules import model_server_info


@pytest.mark.parametrize("reason", [None, "no socket of a container engine is there"])
def test_servers_in_containers_are_unseen_while_no_engine_answers(tmp_path, monkeypatch, reason):
    """A host with configurations of containers has, or had, servers in them."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(
        sockets, "find", lambda *_given: {"answers": False, "socket": None, "engine": None, "reason": reason}
    )
    module = SimpleNamespace(params={"state_directory": str(tmp_path / "state"), "engine_socket": None, "ask": False})
    (tmp_path / "state" / "servers" / "m").mkdir(parents=True)
    assert model_server_info.work(module)["unseen"] is None, "an embedded server has no such folder"
    (tmp_path / "state" / "servers" / "m" / "config" / "x").mkdir(parents=True)
    unseen = model_server_info.work(module)["unseen"]
    assert unseen == f"cannot see servers in containers: {reason or 'no container engine answers'}"
