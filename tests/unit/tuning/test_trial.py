# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole tuning against a host whose servers have known rates: what the server gains, and what clients gain by another protocol."""

from __future__ import annotations

import re

import pytest

hdrh = pytest.importorskip("hdrh.histogram")

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import server_options
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import options, trial

REST_RPS, GRPC_TIMES, LITE_TIMES = 100.0, 3.0, 1.5


class Host:
    """Answers the modules that a tuning calls: gRPC serves three times what REST does, TensorFlow Lite one and a half times."""

    def __init__(self):
        self.servers, self.rounds = {}, 0

    def call(self, module, **given):
        return getattr(self, module.rpartition(".")[2])(**given)

    def find(self, **_given):
        return {"files": [{"path": f"/m/m/{form}", "isdir": True} for form in ("saved_model", "tflite_dynamic_range")]}

    def model_server(self, name, state, **given):
        if state == "absent":
            return {}
        self.servers[8500 + 2 * len(self.servers)] = given["model_base_path"]
        port = max(self.servers)
        return {"server": {"address": "127.0.0.1", "grpc_port": port, "rest_port": port + 1}}

    def load_test(self, targets, windows, **given):
        return {
            "windows": [self._window(target, given) for name in windows for target in targets if target["name"] == name]
        }

    def _window(self, target, given):
        self.rounds += 1
        rate = REST_RPS * (1 + 0.001 * (self.rounds % 3))
        rate *= GRPC_TIMES if target["protocol"] == "grpc" else 1
        rate *= LITE_TIMES if "tflite" in self.servers[target["port"] - (target["protocol"] == "rest")] else 1
        counted = hdrh.HdrHistogram(1, 60_000_000, 3)
        for _request in range(200):
            counted.record_value(int(1e6 / rate))
        return {
            "target": target["name"],
            "goodput_rps": rate,
            "throughput_rps": rate,
            "requests": 200,
            "duration_s": 1.0,
            "histogram": counted.encode().decode(),
            "void": None,
        }


def tuned(protocol, *candidates):
    given = {name: spec.get("default") for name, spec in options.ARGUMENTS.items()}
    given.update(
        name="m",
        python="python3",
        model_directory="/m",
        samples="/s.npz",
        state_directory="/state",
        cpus="0-3",
        start={"protocol": protocol},
        candidates=[{"name": name, "change": change} for name, change in candidates],
    )
    controller = trial.Controller(Host().call, lambda text: None, "web-1")
    return trial.tune(controller, given, False)["tuning"]


MOVE, LITE = ("REST to gRPC", {"protocol": "grpc"}), ("TensorFlow Lite", {"form": "tflite_dynamic_range"})


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_what_clients_gain_by_grpc_is_advice_and_no_part_of_the_total(protocol):
    found = tuned(protocol, MOVE, LITE)
    move, lite = found["steps"]
    assert (
        move["advice"] is True
        and move["kept"] is False
        and "advice to the owners of clients that use rest" in move["reason"]
    )
    assert move["gain"] == pytest.approx(GRPC_TIMES - 1, abs=0.01)
    assert lite["kept"] is True and lite["gain"] == pytest.approx(LITE_TIMES - 1, abs=0.01)
    assert found["total"]["gain"] == pytest.approx(LITE_TIMES - 1, abs=0.01)
    assert found["start"]["protocol"] == found["configuration"]["protocol"] == protocol


def test_where_only_clients_can_gain_the_start_is_kept():
    found = tuned("rest", MOVE)
    assert found["configuration"] == found["start"] and found["total"]["kept"] is False
    assert found["total"]["gain"] == pytest.approx(0, abs=0.01)


def test_a_candidate_that_mixes_the_clients_and_the_servers_part_is_refused():
    with pytest.raises(FleetError, match="Make two candidates of it"):
        tuned("rest", ("both", {"protocol": "grpc", "form": "tflite_dynamic_range"}))


@pytest.mark.parametrize(
    "model",
    ["digits", "m" * 200, "fraud-model-of-the-payments-team-for-the-european-market-v2", "größe+1", "_hidden", "…"],
)
def test_a_trial_server_has_a_name_that_the_engine_takes_whatever_the_model_is_called(model):
    # Docker Engine's own rule for names of containers, in its message: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed.
    for key in ("0123abcd", "0123abcdagain"):
        name = trial.server_name(model, key)
        assert re.fullmatch("[a-zA-Z0-9][a-zA-Z0-9_.-]+", name) and name.endswith(f"-trial-{key}")
        assert server_options.check_name(name) == name
    assert trial.server_name("digits", "0123abcd") == "digits-trial-0123abcd"
