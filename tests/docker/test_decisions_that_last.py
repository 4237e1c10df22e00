# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was decided about a server while it served holds in later deployments: labels that were given."""

from __future__ import annotations

import struct

from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import stdlib_client, tensors
from ansible_collections.tfserving.fleet.tests.support import modules

STABLE = {"version_policy": {"specific": [1]}, "labels": {"stable": 1}}


def models(host, **values):
    return [{"name": "m", "base_path": str(host.state / "models"), **values}]


def answers(server, label):
    """What the version of a label makes of ones."""
    client = stdlib_client.Server(server["address"], server["grpc_port"], 30, False)
    ones = tensors.Tensor("float32", (1, 4), struct.pack("<4f", *[1.0] * 4))
    return client.predict("m", {"x": ones}, label=label)["y"].values()


def test_a_label_that_was_given_while_the_model_is_served_stays(host):
    host.options.update(model_name=None, model_base_path=None, samples=None, reference=None)
    host.publish("wrong", version="2")
    server = host.good(models=models(host, **STABLE))["server"]
    labelled = modules.call(
        "model_version",
        path=str(host.state / "models"),
        version=2,
        server={"port": server["grpc_port"], "model": "m"},
        label="canary",
        config_file=server["model_config_file"],
    )
    assert not labelled.get("failed"), labelled
    doubled, tripled = [2.0] * 4, [3.0] * 4
    assert (answers(server, "stable"), answers(server, "canary")) == (doubled, tripled)
    described, asked = host.info()
    assert described["models"][0]["labels"] == {"stable": 1, "canary": 2} and asked["models"][0]["drift"] == []
    assert not host.good(models=models(host, **STABLE))["changed"]

    change = {"flags": {"num_load_threads": 2}}
    planned = host.good(check_mode=True, models=models(host, **STABLE), **change)
    assert "keep the label canary of m on version 2" in planned["actions"]
    changed = host.good(models=models(host, **STABLE), **change)
    assert changed["changed"]
    assert (answers(server, "stable"), answers(server, "canary")) == (doubled, tripled)
    assert not host.good(models=models(host, **STABLE), **change)["changed"]
    host.engine.containers.get(host.name).restart()
    assert not host.good(models=models(host, **STABLE), **change)["changed"]
    assert answers(server, "canary") == tripled, "also after the engine started the server again"

    without = {"version_policy": {"specific": [1]}, "labels": {"stable": 1, "canary": None}}
    assert host.good(models=models(host, **without), **change)["changed"]
    described, _asked = host.info()
    assert described["models"][0]["labels"] == {"stable": 1} and answers(server, "stable") == doubled
