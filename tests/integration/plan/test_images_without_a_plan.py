# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook build and the role tfs_image, where no plan ran before: hosts from a warm fact cache, with an engine that knows a few images."""

from __future__ import annotations

import json
import re
import socketserver
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import image_labels

sys.path.append(str(Path(__file__).resolve().parent))
import test_plan_playbook as playbooks

fleet = playbooks.fleet
OLD = "tfserving-fleet/serving:2.19.1-x86-64-v3-0123456789ab"
ROLE = [{"hosts": "all", "gather_facts": False, "roles": ["tfserving.fleet.tfs_image"]}]


class Images(playbooks.IdleEngine):
    """An engine with images, {name: digest of its recipe}, and without containers. removed: the names that it removed."""

    images: dict = {}
    removed: list = []

    def do_GET(self):
        kind, name = re.fullmatch(r"/v[0-9.]+/(\w+)/(.*?)/?json|.*", self.path.partition("?")[0]).groups()
        if kind != "images":
            return super().do_GET()
        if not name:
            return self._send(200, [{"Id": one} for one in self.images])
        if name not in self.images:
            return self._send(404, {"message": "No such image"})
        labels = {image_labels.RECIPE: self.images[name]}
        return self._send(200, {"Id": name, "Size": 1, "RepoTags": [name], "Config": {"Labels": labels}})

    def do_DELETE(self):
        name = re.fullmatch(r"/v[0-9.]+/images/(.*)", self.path.partition("?")[0]).group(1)
        self.removed.append(name)
        del self.images[name]
        self._send(200, [])

    def _send(self, status, answer):
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def engine():
    """The handler of an engine with the image OLD; socket is its address, short, as socket paths must be."""
    handler = type("Handler", (Images,), {"images": {OLD: "0" * 64}, "removed": []})
    with tempfile.TemporaryDirectory(prefix="images") as directory:
        handler.socket = f"{directory}/engine.sock"
        with socketserver.ThreadingUnixStreamServer(handler.socket, handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield handler
            server.shutdown()


def run(fleet, engine, what, *words, **variables):
    """(return code, output in one line) of a playbook, a name or a list of plays, over the host a."""
    if not isinstance(what, str):
        (fleet.directory / "play.yml").write_text(json.dumps(what), encoding="utf-8")
        what = "play.yml"
    here = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "tfserving_engine_socket": engine.socket,
        "tfs_image_directory": str(fleet.directory / "directory"),
        "tfs_image_controller_directory": str(fleet.directory / "controller"),
    }
    code, output, _tasks = fleet.run({"a": here}, *words, playbook=what, **variables)
    return code, re.sub(r"\s+", " ", output)


def test_the_playbook_that_builds_plans_hosts_that_no_playbook_planned(fleet, engine):
    fleet.known("a", "haswell")
    wanted = {"tfserving_build": True}
    code, output = run(fleet, engine, "tfserving.fleet.build", "--check", tfserving_image_builders=["a"], **wanted)
    assert code == 0, output
    assert "changed: [a] => (item=tfserving-fleet/serving:2.20.0-x86-64-v3-" in output
    code, output = run(fleet, engine, "tfserving.fleet.build", "--check", tfserving_image_builders=[], **wanted)
    assert code == 2 and "tfs_image_builders: cannot build the image 'tfserving-fleet/serving:2.20.0" in output


def test_the_role_alone_keeps_the_image_that_the_host_needs(fleet, engine):
    fleet.known("a", "haswell")
    run(fleet, engine, "tfserving.fleet.plan", "-e", "tfserving_plan_path=plan.json", tfserving_build=True)
    recipe = fleet.written()["a"]["build"]
    engine.images[recipe["image"]] = recipe["digest"]
    code, output = run(fleet, engine, ROLE, tfserving_build=True, tfs_image_prune=True)
    assert code == 0 and engine.removed == [OLD], output
    code, output = run(fleet, engine, ROLE, tfs_image_prune=True)
    assert code == 0 and engine.removed == [OLD, recipe["image"]], "it is not the host's own without tfserving_build"


def test_nothing_is_removed_on_a_host_whose_plan_is_not_known_or_refuses_it(fleet, engine):
    fleet.known("a", "haswell")
    refused = {"tfserving_build": True, "tfserving_build_for": ["x86-64-v4"]}
    words = "an image for x86-64-v4 is an image for x86-64-v4, which this x86-64-v3 CPU cannot run"
    for what in ("tfserving.fleet.build", ROLE):
        code, output = run(fleet, engine, what, tfs_image_prune=True, **refused)
        assert code == 2 and f"tfs_image_prune: the plan refuses this host: build: {words}" in output, output
    fleet.known("a", "haswell")
    for planned in ({}, {"tfs_capabilities_plan_result": {"plan": None}}):
        code, output = run(fleet, engine, ROLE, tfs_image_prune=True, tfserving_models=[], **planned)
        assert code == 0 and engine.removed == [OLD], "the plan of a host that serves nothing needs no image"
        engine.images[OLD] = engine.removed.pop()
    (fleet.directory / "cache" / "s1_a").unlink()
    code, output = run(fleet, engine, ROLE, tfs_image_prune=True, tfserving_models=[])
    assert code == 2 and "tfs_image_prune: there is no plan of this host" in output, output
    assert engine.removed == []
    code, output = run(fleet, engine, ROLE, tfs_image_prune=True, tfserving_models=[], tfs_image_recipe="")
    assert code == 0 and engine.removed == [OLD], output


def test_a_build_shows_why_a_refused_host_gets_no_image(fleet, engine):
    fleet.known("a", "haswell")
    code, output = run(fleet, engine, "tfserving.fleet.build", tfserving_build=True, tfserving_build_for=["x86-64-v4"])
    assert code == 0 and '"msg": "no image: the plan refuses this host: build: an image for x86-64-v4 is' in output
