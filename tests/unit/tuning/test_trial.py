# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole tuning against a host whose servers have known rates: what the server gains, and what clients gain by another protocol."""

from __future__ import annotations

import math
import random
import re
import time

import pytest

hdrh = pytest.importorskip("hdrh.histogram")

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import server_options, trial_configuration
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import options, steps, trial, trial_servers

REST_RPS, GRPC_TIMES, LITE_TIMES = 100.0, 3.0, 1.5
ENDS = "one request with no rows ends the server (by SIGSEGV: it read memory that is not its own)"


class Host:
    """Answers the modules that a tuning calls: gRPC serves three times what REST does, TensorFlow Lite one and a half times.

    times: (its servers' description) -> a further factor. fragile: the variants whose servers a request with no rows ends.
    """

    def __init__(self, times=lambda server, rounds: 1.0, fragile=()):
        self.times, self.fragile = times, fragile
        self.servers, self.rounds, self.calls, self.checksums = {}, 0, [], {}

    def call(self, module, **given):
        self.calls.append((module.rpartition(".")[2], given))
        return getattr(self, module.rpartition(".")[2])(**given)

    def find(self, patterns=None, **_given):
        if patterns:
            return {"files": [{"path": path} for path in self.warmups]}
        return {"files": [{"path": f"/m/m/{form}", "isdir": True} for form in ("saved_model", "tflite_dynamic_range")]}

    def stat(self, path, **_given):
        return {"stat": {"exists": True, "checksum": self.checksums.get(path, "0" * 40)}}

    def batching_parameters(self, **_given):
        return {}

    def model_server(self, name, state, **given):
        self.servers = {port: server for port, server in self.servers.items() if server["name"] != name}
        if state == "absent":
            return {}
        if given["model_base_path"].rpartition("/")[2] in self.fragile and not given.get("accept_fragile"):
            # As the module's check says it.
            fault = FleetError(f'check "survives malformed requests" failed: {ENDS}; it says: Segmentation fault', "m")
            raise FleetError(str(fault), where="model_server") from fault
        port = 8500 + 2 * len(self.calls)
        self.servers[port] = dict(given, name=name, asked=[])
        return {"server": {"address": "127.0.0.1", "grpc_port": port, "rest_port": port + 1}}

    def model_server_check(self, target, **given):
        self._server(target)["asked"].append(given["batch"])
        return {"examples": 100, "metric": {"value": 0.9}}

    def load_test(self, targets, windows, batch, **given):
        if len(batch) == 1 and 1 not in batch:
            raise FleetError("the server answers the first request with INVALID_ARGUMENT", where="load_test")
        assert len({tuple(self._server(target)["asked"]) for target in targets}) == 1, "one side has another history"
        for target in targets:
            self._server(target)["asked"].append("load")
        found = [self._window(target) for name in windows for target in targets if target["name"] == name]
        return {
            "windows": [
                dict(
                    window,
                    rate_rps=(given["rate_rps"] or 7.0) if given["loop"] == "open" else None,
                    requests_from="samples" if given["samples"] else "warm-up file" if given["warmup"] else "signature",
                )
                for window in found
            ]
        }

    warmups = ()

    def _server(self, target):
        return self.servers[target["port"] - (target["protocol"] == "rest")]

    def _window(self, target):
        self.rounds += 1
        server = self._server(target)
        rate = REST_RPS * (1 + 0.001 * (self.rounds % 3))
        rate *= GRPC_TIMES if target["protocol"] == "grpc" else 1
        rate *= LITE_TIMES if "tflite" in server["model_base_path"] else 1
        rate *= self.times(server, self.rounds)
        counted = hdrh.HdrHistogram(1, 60_000_000, 3)
        for _request in range(200):
            counted.record_value(int(1e6 / rate))
        return {
            "target": target["name"],
            "goodput_rps": rate,
            "throughput_rps": rate,
            "requests": 200,
            "errors": {},
            "duration_s": 1.0,
            "histogram": counted.encode().decode(),
            "void": None,
        }


def trial_options(**changes):
    given = {name: spec.get("default") for name, spec in options.ARGUMENTS.items()}
    given.update(
        name="m",
        python="python3",
        model_directory="/m",
        samples="/s.npz",
        state_directory="/state",
        cpus="0-3",
    )
    return {**given, **changes}


def tuned(protocol, *candidates, host=None, say=lambda text: None, clock=time.monotonic, **changes):
    changes.setdefault("start", {"protocol": protocol})
    changes.setdefault("accept_unjudged", changes.get("samples", "") is not None)
    tried = [{"name": name, "change": change} for name, change in candidates]
    given = trial_options(candidates=tried, **changes)
    controller = trial.Controller((host or Host()).call, say, "web-1", clock)
    return trial.tune(controller, given, False)["tuning"]


MOVE, LITE = ("clients from REST to gRPC", {"protocol": "grpc"}), ("TensorFlow Lite", {"form": "tflite_dynamic_range"})
BATCHING = ("batching", {"batching": {"max_batch_size": 16}})
THREADS = ("threads", {"flags": {"tensorflow_intra_op_parallelism": 1}})
BOTH = ("both", {**LITE[1], **BATCHING[1]})


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
    with pytest.raises(FleetError, match="Split it into two candidates"):
        tuned("rest", ("both", {"protocol": "grpc", "form": "tflite_dynamic_range"}))


@pytest.mark.parametrize(
    "model",
    ["digits", "m" * 200, "fraud-model-of-the-payments-team-for-the-european-market-v2", "größe+1", "_hidden", "…"],
)
def test_a_trial_server_has_a_name_that_the_engine_takes_whatever_the_model_is_called(model):
    # Docker Engine's own rule for names of containers, in its message: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed.
    for key in ("0123abcd", "0123abcdagain"):
        name = trial_servers.server_name(model, key)
        assert re.fullmatch("[a-zA-Z0-9][a-zA-Z0-9_.-]+", name) and name.endswith(f"-trial-{key}")
        assert server_options.check_name(name) == name
    assert trial_servers.server_name("digits", "0123abcd") == "digits-trial-0123abcd"


def test_servers_are_fresh_and_were_asked_the_same_before_they_are_compared():
    host = Host()
    found = tuned("grpc", LITE, THREADS, metric="accuracy", host=host)  # Host.load_test looks at both histories
    starts = [given["name"] for module, given in host.calls if module == "model_server" and given["state"] == "started"]
    # Three pairs for the noise, one for the one that lost, two for the one that was kept, and two for the final comparison.
    assert len(starts) == 2 * (3 + 1 + 2 + 2) and not host.servers
    assert [step["instances"] for step in (found["noise"], *found["steps"], found["total"])] == [3, 1, 2, 2]
    assert found["total"]["accuracy"] == {"before": 0.9, "after": 0.9}
    orders = {(one.endswith("again"), other.endswith("again")) for one, other in zip(starts[::2], starts[1::2])}
    assert {(False, True), (True, False)} <= orders, "the order is drawn"


def test_a_budget_that_holds_one_pair_of_servers_gives_a_verdict_that_says_so():
    now = [0.0]

    class Slow(Host):
        def load_test(self, **given):
            now[0] += 60
            return super().load_test(**given)

    found = tuned("grpc", LITE, host=Slow(), clock=lambda: now[0], budget_min=6.5)
    (step,) = found["steps"]
    assert step["kept"] and step["instances"] == 1 and found["total"]["instances"] == 2
    assert "on 1 pair of servers with the scatter of other pairs, 3 degrees of freedom" in step["reason"]
    assert now[0] <= 6.5 * 60 + 60, "the open loop comes on top"


def test_a_change_that_pays_only_beside_another_is_found():
    host = Host(
        lambda server, _rounds: (
            (2.0 if "tflite" in server["model_base_path"] else 0.8) if server["batching_parameters_file"] else 1.0
        )
    )
    found = tuned("grpc", BATCHING, LITE, host=host)
    assert [(step["name"], step["kept"]) for step in found["steps"]][:3] == [
        ("batching", False),
        ("TensorFlow Lite", True),
        ("batching, with TensorFlow Lite", True),
    ]
    assert found["configuration"]["batching"] and found["configuration"]["form"] == "tflite_dynamic_range"
    assert found["total"]["gain"] == pytest.approx(2 * LITE_TIMES - 1, abs=0.02)


def times_of(**by_change):
    """Return the factor of a server: of the first of form, batching, flags and environment that are changed together, such as form_batching=2.0."""

    def times(server, _rounds):
        changed = {
            "form": "tflite" in server["model_base_path"],
            "batching": server["batching_parameters_file"],
            "flags": server["flags"],
            "environment": server["environment"],
        }
        factor = by_change.get("_".join(name for name, value in changed.items() if value), 1.0)
        return factor / (LITE_TIMES if changed["form"] else 1.0)

    return times


def test_what_loses_is_tried_once_more_on_top_of_what_was_kept_and_no_more():
    host = Host(times_of(form=0.9, batching=1.3, flags=0.8, batching_flags=1.2, form_batching=1.1))
    names = [step["name"] for step in tuned("grpc", LITE, BATCHING, THREADS, host=host, refine=False)["steps"]]
    assert names == [
        "TensorFlow Lite",
        "threads",
        "batching",
        "TensorFlow Lite, with batching",
        "threads, with batching",
    ]


def test_the_largest_gain_is_kept_first_whatever_the_order_of_the_candidates():
    # TensorFlow Serving 2.20 on one CPU, a CNN, 16 calls in flight: 768/s as it is, batching 854/s, TensorFlow Lite 2511/s; in another run of the same CNN
    # TensorFlow Lite with batching was 30 % slower than without.
    host = Host(times_of(batching=854 / 768, form=2511 / 768, form_batching=0.7 * 2511 / 768, flags=1.4))
    for candidates in ((BATCHING, LITE, BOTH, THREADS), (THREADS, BOTH, LITE, BATCHING)):
        found = tuned("grpc", *candidates, host=host, refine=False)
        assert found["configuration"]["form"] == "tflite_dynamic_range" and not found["configuration"]["batching"]
        assert [step["name"] for step in found["steps"] if step["kept"]] == ["TensorFlow Lite"]
        assert "batching, with TensorFlow Lite" not in [step["name"] for step in found["steps"]], "both were slower"
        lost = next(step for step in found["steps"] if step["name"] == "threads")
        assert lost["gain"] == pytest.approx(0.4, abs=0.01) and lost["reason"].endswith("; TensorFlow Lite gained more")


def test_two_changes_that_gain_only_together_are_found():
    host = Host(times_of(batching=0.9, form=0.8, form_batching=1.5))
    found = tuned("grpc", LITE, BATCHING, BOTH, host=host, refine=False)
    assert [step["name"] for step in found["steps"] if step["kept"]] == ["both"]
    assert found["total"]["gain"] == pytest.approx(0.5, abs=0.01) and len(found["steps"]) == 3, "nothing is left to try"


def test_batching_that_the_plan_chose_goes_where_it_costs():
    without = (("no batching", {"batching": None}), ("TensorFlow Lite without batching", {**LITE[1], "batching": None}))
    host, start = Host(times_of(form=3.0, form_batching=1.5, **{"": 1.3})), {"protocol": "grpc", **BATCHING[1]}
    found = tuned("grpc", LITE, *without, host=host, start=start)
    assert [step["name"] for step in found["steps"] if step["kept"]] == ["TensorFlow Lite without batching"]
    assert found["configuration"]["form"] == "tflite_dynamic_range" and found["configuration"]["batching"] is None
    assert found["total"]["gain"] == pytest.approx(2.0, abs=0.02) and len(found["steps"]) == 3, "nothing is refined"


def test_what_tensorflow_lite_does_not_use_is_not_measured_with_it():
    host = Host(times_of(form=2.0, flags=1.2, environment=1.1))
    pools = ("pools", {"flags": {"num_tflite_pools": 4}})
    found = tuned("grpc", LITE, THREADS, ("oneDNN", {"environment": {"TF_ENABLE_ONEDNN_OPTS": "0"}}), pools, host=host)
    measured = [step["name"] for step in found["steps"] if step["gain"] is not None]
    assert measured == ["threads", "oneDNN", "TensorFlow Lite", "pools, with TensorFlow Lite"]
    assert found["steps"][2]["reason"] == "only TensorFlow Lite uses it"


def test_settings_of_rest_are_tried_only_with_clients_that_use_it():
    rest = ("REST threads", {"flags": {"rest_api_num_threads": 64}})
    assert [[step["name"] for step in tuned(one, rest)["steps"]] for one in ("grpc", "rest")] == [[], ["REST threads"]]


def test_a_gain_that_the_final_comparison_does_not_confirm_is_not_kept():
    # The host gets a noisy neighbor that takes from TensorFlow Lite what it had gained.
    host = Host(lambda server, rounds: 1 / LITE_TIMES if rounds > 24 and "tflite" in server["model_base_path"] else 1.0)
    found = tuned("grpc", LITE, host=host)
    (step,) = found["steps"]
    assert found["configuration"] == found["start"] and found["total"]["kept"] is step["kept"] is False
    assert (
        step["gain"] == pytest.approx(0.5, abs=0.01)
        and "the final comparison with the start did not confirm it" in step["reason"]
        and step["unconfirmed"]
    )


def test_a_gain_that_costs_answers_in_the_final_comparison_is_not_kept():
    class Worn(Host):
        def _window(self, target):
            window = super()._window(target)
            worn = self.rounds > 20 and "tflite" in self._server(target)["model_base_path"]
            return dict(window, errors={"UNAVAILABLE": 20} if worn else {})  # of 200

    found = tuned("grpc", LITE, host=Worn())
    assert found["configuration"] == found["start"] and not found["total"]["kept"] and found["total"]["gain"] > 0.4
    assert found["steps"][0]["unconfirmed"] and "10.0 % of its requests fail (UNAVAILABLE)" in found["total"]["reason"]


def test_where_the_final_comparison_fails_the_start_is_kept():
    class Failing(Host):
        def model_server(self, name, state, **given):
            starts = [one for module, one in self.calls if module == "model_server" and one["state"] == "started"]
            if state == "started" and len(starts) > 2 * (3 + 2 + 1):
                raise FleetError("the candidate ended", where="model_server")
            return super().model_server(name, state, **given)

    found = tuned("grpc", LITE, host=Failing())
    assert found["configuration"] == found["start"] and found["total"]["kept"] is found["steps"][0]["kept"] is False
    assert found["total"]["reason"] == "it could not be measured: model_server: the candidate ended."


@pytest.mark.parametrize("accepted", [False, True])
def test_a_faster_variant_that_one_request_ends_is_measured_and_kept_only_where_that_is_accepted(accepted):
    found = tuned("grpc", LITE, host=Host(fragile=("tflite_dynamic_range",)), accept_fragile=accepted)
    (step,) = found["steps"]
    assert (
        step["gain"] == pytest.approx(LITE_TIMES - 1, abs=0.01) and step["fragile"] == ENDS and ENDS in step["reason"]
    )
    assert step["kept"] is accepted is (found["configuration"]["form"] != "saved_model")
    assert ("kept only with accept_fragile: true" in step["reason"]) is not accepted


def test_a_start_that_one_request_ends_is_measured_too():
    found = tuned("grpc", LITE, host=Host(fragile=("saved_model",)))
    assert found["steps"][0]["kept"] is True and found["steps"][0]["fragile"] is None


def test_another_fault_of_a_start_is_told():
    class Broken(Host):
        def model_server(self, name, state, **given):
            if state == "started" and "tflite" in given["model_base_path"]:
                raise FleetError("the candidate's port is taken", where="model_server")
            return super().model_server(name, state, **given)

    (step,) = tuned("grpc", LITE, host=Broken())["steps"]
    assert (
        step["kept"] is False
        and step["reason"] == "it could not be measured: model_server: the candidate's port is taken."
    )


@pytest.mark.parametrize("alive_for", [0, 1])
def test_a_candidate_that_dies_while_it_is_measured_does_not_end_the_tuning(alive_for):
    class Dying(Host):
        measured = 0

        def load_test(self, targets, windows, **given):
            lite = any("tflite" in self._server(target)["model_base_path"] for target in targets)
            self.measured += lite
            if lite and self.measured > alive_for:
                raise FleetError("127.0.0.1:9000 answers the first request with UNAVAILABLE", where="load_test")
            return super().load_test(targets, windows, **given)

    host = Dying(times_of(flags=1.4, form=LITE_TIMES))
    found = tuned("grpc", LITE, THREADS, host=host)
    lite, threads = found["steps"][:2]
    assert lite["kept"] is False and "answers the first request with UNAVAILABLE" in lite["reason"]
    assert threads["kept"] is True and found["total"]["kept"] is True and not host.servers


def test_where_one_server_does_not_stop_the_others_are_stopped_and_that_one_is_tried_again():
    class Stuck(Host):
        refused = 0

        def model_server(self, name, state, **given):
            if state == "absent" and not self.refused:
                self.refused += 1
                raise FleetError("the engine does not answer", where="model_server")
            return super().model_server(name, state, **given)

    host = Stuck(times_of(flags=1.4))
    servers = trial_servers.TrialServers(host.call, trial_options(), {"saved_model": "/m/m/saved_model"})
    of = trial_configuration.complete({})
    first = servers.target(of, "baseline")
    servers.target(of, "candidate", "again")
    with pytest.raises(FleetError, match="the engine does not answer"):
        servers.stop()
    assert [server["name"][-8:] for server in host.servers.values()] == [steps.server_key(of)], "the other one is gone"
    assert servers.target(of, "baseline") != first, "nothing uses it any more"
    servers.stop()
    assert not host.servers


@pytest.mark.parametrize("backend", [{"backend": "docker", "image": "tensorflow/serving"}, {}])
def test_trial_servers_of_a_killed_tuning_are_removed_before_anything_is_measured(backend):
    left = ("m-trial-0123abcd", "m-trial-89abcdefagain")
    others = ("m", "m-trial", "m-trial-0123abcd-2", "m-trial-of-mine", "m2-trial-0123abcd", "my-m-trial-0123abcd")

    class Left(Host):
        def find(self, patterns=None, **given):
            if given["paths"] == ["/state/servers"]:
                return {"files": [{"path": f"/state/servers/{name}"} for name in (*left, *others)]}
            return super().find(patterns, **given)

    host = Left()
    tuned("grpc", LITE, host=host, **backend)
    first = next(number for number, (module, _given) in enumerate(host.calls) if module == "load_test")
    before = [given for module, given in host.calls[:first] if module == "model_server" and given["state"] == "absent"]
    assert [given["name"] for given in before] == list(left)
    assert all("backend" not in given for given in before), "the module finds out which one it was"
    files = [given["path"] for module, given in host.calls[:first] if module == "batching_parameters"]
    assert files == [f"/state/{name}.batching.pbtxt" for name in left]
    assert not {given["name"] for module, given in host.calls if module == "model_server"} & set(others)


def test_what_the_budget_leaves_out_is_said_before_and_listed_after():
    said, now = [], [0.0]

    class Slow(Host):
        def load_test(self, **given):
            now[0] += 60
            return super().load_test(**given)

    found = tuned("grpc", LITE, THREADS, BATCHING, host=Slow(), say=said.append, clock=lambda: now[0], budget_min=6)
    measured = [step["name"] for step in found["steps"] if step["gain"] is not None]
    assert "3 candidates will take 5 minutes or more, and the budget of 6 minutes is enough for 1 of them" in said[0]
    assert measured[0] == "TensorFlow Lite" and found["total"]["gain"] is not None
    assert found["steps"][-1]["reason"] == "the budget of 6 minutes was used up before it was measured"


def test_windows_of_a_slow_model_hold_enough_requests():
    host = Host()
    tuned("grpc", LITE, host=host, window_requests=40, window_max_s=90.0)
    loads = [given for module, given in host.calls if module == "load_test"]
    assert {(one["window_requests"], one["window_max_s"]) for one in loads} == {(40, 90.0)}
    assert all(one["deadline_s"] >= 60 for one in loads), "eight in flight wait for each other"


def test_without_samples_settings_are_tuned_and_another_variant_is_only_reported():
    host = Host(lambda server, _rounds: 1.2 if server["flags"] else 1.0)
    found = tuned("grpc", LITE, THREADS, host=host, samples=None)
    lite, threads = found["steps"][:2]
    assert lite["kept"] is False and lite["gain"] == pytest.approx(LITE_TIMES - 1, abs=0.01)
    assert "another variant is kept only if a metric on samples judges its answers" in lite["reason"]
    assert threads["kept"] is True and found["configuration"]["form"] == "saved_model"
    assert found["method"]["requests_from"] == "signature"
    assert tuned("grpc", LITE)["method"]["requests_from"] == "samples"
    accepted = tuned("grpc", LITE, samples=None, accept_unjudged=True)
    assert accepted["configuration"]["form"] == "tflite_dynamic_range"


def test_a_model_that_answers_no_request_well_is_an_error_if_the_requests_are_the_users():
    class Refusing(Host):
        def _window(self, target):
            window = super()._window(target)
            return dict(window, goodput_rps=0.0, throughput_rps=0.0, errors={"INVALID_ARGUMENT": 200})

    happened = "m: none of 2400 requests succeeded: 2400 INVALID_ARGUMENT."
    with pytest.raises(FleetError, match=f"{happened} Check that the samples fit the model."):
        tuned("grpc", LITE, host=Refusing())
    controller = trial.Controller(Refusing().call, lambda text: None, "web-1", time.monotonic)
    result = trial.tune(controller, trial_options(candidates=[], samples=None), False)
    assert (result["tuning"], result["changed"]) == (None, False)
    (warning,) = result["warnings"]
    assert warning.startswith(
        f"{happened} The requests were made without samples, so the model is not tuned. Set samples"
    )


class Strict(Host):
    """Its server answers the first request with an error, as the load generator says it."""

    code = "INVALID_ARGUMENT"

    def load_test(self, **_given):
        what = (
            f"grpc://127.0.0.1:8500 answers the first request with {self.code}: Expected image (JPEG, PNG), got 'text'"
        )
        fault = FleetError(what, where="target baseline", remedy="Do.", code=self.code)
        raise FleetError(str(fault), where="load_test") from FleetError.from_dict(fault.as_dict())


def test_a_model_for_which_no_request_can_be_made_up_is_not_tuned_and_fails_nothing(tmp_path):
    result = result_of(Strict(), LITE, samples=None, keep_in=str(tmp_path), tuning_class="c")
    assert (result["tuning"], result["changed"]) == (None, False) and not list(tmp_path.glob("c/*.yml"))
    assert result["warnings"] == [
        "m: grpc://127.0.0.1:8500 answers the first request with INVALID_ARGUMENT: Expected image (JPEG, PNG), got 'text'. "
        "The requests were made without samples, so the model is not tuned. Set samples to an .npz file that fits it."
    ]


@pytest.mark.parametrize("code, samples", [("INVALID_ARGUMENT", "/s.npz"), ("UNAVAILABLE", None)])
def test_samples_that_do_not_fit_and_servers_that_fail_stay_errors(code, samples):
    host = Strict()
    host.code = code
    with pytest.raises(FleetError, match=code):
        result_of(host, LITE, samples=samples)


def test_a_start_that_misses_the_objective_does_not_hide_what_meets_it():
    class Late(Host):
        def _window(self, target):
            window = super()._window(target)
            return window if "tflite" in self._server(target)["model_base_path"] else dict(window, goodput_rps=0.0)

    found = tuned("grpc", LITE, host=Late(), objective_p99_ms=8.0)
    assert found["steps"][0]["kept"] is True and found["configuration"]["form"] == "tflite_dynamic_range"


def test_a_metric_needs_samples():
    with pytest.raises(FleetError, match="metric: a metric needs samples, but samples is not set"):
        tuned("grpc", LITE, samples=None, metric="accuracy")


class Kept(Host):
    """A host whose models have a structure that is kept with a tuning."""

    structure = "0" * 16
    mtime = 1700000000.5

    def find(self, patterns=None, **given):
        if given["paths"][0].startswith("/m/m/"):
            return {"files": [{"path": f"{path}/1", "isdir": True, "mtime": self.mtime} for path in given["paths"]]}
        return super().find(patterns, **given)

    def saved_model_info(self, **_given):
        return {"saved_model": {"structure": {"graph": self.structure}}}

    def slurp(self, src):
        raise FleetError(f"file not found: {src}", where="slurp")


def dying(kind, loads):
    """A kind of host whose tuning is killed after this many loads."""

    class Dying(kind):
        def load_test(self, **given):
            if sum(module == "load_test" for module, _given in self.calls) > loads:
                raise KeyboardInterrupt
            return super().load_test(**given)

    return Dying


def loads_of(host):
    return sum(module == "load_test" for module, _given in host.calls)


def test_a_tuning_that_was_killed_goes_on_after_the_last_pair_of_servers(tmp_path):
    kept, untouched = {"keep_in": str(tmp_path), "tuning_class": "c", "metric": "accuracy", "rounds": 3}, Kept()
    whole = tuned("grpc", LITE, THREADS, host=untouched, **{**kept, "keep_in": str(tmp_path / "whole")})
    with pytest.raises(KeyboardInterrupt):
        tuned("grpc", LITE, THREADS, host=dying(Kept, 4)(), **kept)
    (log,) = tmp_path.glob("c/.*")
    log.write_text(log.read_text(encoding="utf-8") + '{"key": "cut', encoding="utf-8")  # the line it was writing
    host = Kept()
    found = tuned("grpc", LITE, THREADS, host=host, **kept)
    names = ("name", "kept", "change", "accuracy")
    assert [[step[name] for name in names] for step in found["steps"]] == [
        [step[name] for name in names] for step in whole["steps"]
    ]
    assert found["noise"]["gain"] == whole["noise"]["gain"] and found["steps"][0]["gain"] == whole["steps"][0]["gain"]
    assert loads_of(host) == loads_of(untouched) - 4, "three pairs of the noise and one of TensorFlow Lite"
    assert not list(tmp_path.glob("c/.*")) and list(tmp_path.glob("c/m.yml"))


@pytest.mark.parametrize(
    "changes, of_host",
    [
        ({"traffic": {"concurrency": 4}}, {}),
        ({"server": {"memory_mib": 512}}, {}),
        ({"samples": "/other.npz"}, {}),
        ({"cpus": "0-1"}, {}),
        ({}, {"structure": "1" * 16}),
        ({}, {"mtime": 1700000001.25}),  # other weights
        ({}, {"checksums": {"/s.npz": "1" * 40}}),
        ({}, {"checksums": {"/metric.py": "1" * 40}}),
        ({}, {"checksums": {"/arrivals.txt": "1" * 40}}),
    ],
)
def test_what_was_compared_otherwise_is_compared_again(tmp_path, changes, of_host):
    same = {
        "keep_in": str(tmp_path),
        "tuning_class": "c",
        "metric": "function",
        "metric_function": "/metric.py",
        "traffic": {"arrivals": "/arrivals.txt"},
    }
    unchanged, host = Kept(), Kept()
    for name, value in of_host.items():
        setattr(host, name, value)
    for mine, more in ((unchanged, {}), (host, changes)):
        with pytest.raises(KeyboardInterrupt):
            tuned("grpc", LITE, host=dying(Kept, 2)(), **same)
        tuned("grpc", LITE, host=mine, **{**same, **more})
    assert loads_of(host) == loads_of(unchanged) + 2, "the two pairs of the first tuning do not count"


def test_pairs_that_a_busy_machine_made_void_are_measured_again_when_a_killed_tuning_goes_on(tmp_path):
    class Busy(dying(Kept, 3)):
        def _window(self, target):
            return dict(super()._window(target), void="the generator woke late")

    kept = {"keep_in": str(tmp_path), "tuning_class": "c"}
    with pytest.raises((KeyboardInterrupt, FleetError)):
        tuned("grpc", LITE, host=Busy(), **kept)
    found = tuned("grpc", LITE, host=Kept(), **kept)
    assert found["noise"]["instances"] == 3 and found["total"]["kept"]


@pytest.mark.parametrize("loads", [4, 5, 6])
def test_a_killed_tuning_that_goes_on_knows_what_it_found_out_about_the_servers(tmp_path, loads):
    kept = {"keep_in": str(tmp_path), "tuning_class": "c", "metric": "accuracy"}
    fragile = {"fragile": ("tflite_dynamic_range",)}
    with pytest.raises(KeyboardInterrupt):
        tuned("grpc", LITE, THREADS, host=dying(Kept, loads)(**fragile), **kept)
    found = tuned("grpc", LITE, THREADS, host=Kept(**fragile), **kept)
    lite = found["steps"][0]
    assert lite["fragile"] == ENDS and not lite["kept"] and "kept only with accept_fragile: true" in lite["reason"]
    assert found["configuration"]["form"] == "saved_model" and found["method"]["examples"] == 100


def test_the_number_of_examples_is_known_if_all_accuracies_are_from_the_log(tmp_path):
    class Dying(Kept):
        def load_test(self, **given):
            if given["loop"] == "open":
                raise KeyboardInterrupt
            return super().load_test(**given)

    kept, host = {"keep_in": str(tmp_path), "tuning_class": "c", "metric": "accuracy"}, Kept()
    with pytest.raises(KeyboardInterrupt):
        tuned("grpc", LITE, host=Dying(), **kept)
    assert tuned("grpc", LITE, host=host, **kept)["method"]["examples"] == 100
    assert "model_server_check" not in {module for module, _given in host.calls}


class Void(Kept):
    """The windows of only its first rounds count."""

    def __init__(self, counting):
        super().__init__()
        self.counting = counting

    def _window(self, target):
        window = super()._window(target)
        return window if self.rounds <= self.counting else dict(window, void="the generator woke late")


def result_of(host, *candidates, clock=time.monotonic, **changes):
    """What the module returns."""
    tried = [{"name": name, "change": change} for name, change in candidates]
    given = {"start": {"protocol": "grpc"}, "accept_unjudged": True, "candidates": tried, **changes}
    return trial.tune(trial.Controller(host.call, lambda text: None, "web-1", clock), trial_options(**given), False)


def kept_file(directory):
    """(the file of a tuning that kept TensorFlow Lite, the options to tune again)."""
    again = {"keep_in": str(directory), "tuning_class": "c"}
    assert result_of(Kept(), LITE, **again)["tuning"]["total"]["kept"]
    return directory / "c" / "m.yml", again


@pytest.mark.parametrize(
    "counting, what",
    [
        (0, "nothing could be measured"),
        # Three pairs of the noise and two of TensorFlow Lite, with two rounds of two windows each.
        (2 * 2 * 5, "nothing could be measured in the final comparison"),
    ],
)
def test_a_busy_machine_costs_no_tuning_that_was_kept(tmp_path, counting, what):
    file, again = kept_file(tmp_path)
    before = file.read_bytes()
    with pytest.raises(FleetError) as fault:
        result_of(Void(counting), LITE, **again)
    text = str(fault.value)
    assert text.startswith(f"m: {what}: 0 rounds on 0 pairs of servers with goodput") and "windows were void" in text
    assert "Measure when the machine is idle" in text and file.read_bytes() == before


def test_without_a_file_a_busy_machine_is_a_fault_too(tmp_path):
    with pytest.raises(FleetError, match="nothing could be measured"):
        result_of(Void(0), LITE, keep_in=str(tmp_path), tuning_class="c")
    assert not list(tmp_path.glob("c/m.yml"))


@pytest.mark.parametrize("candidates", [(LITE,), (MOVE, LITE), (), (THREADS, LITE)])
def test_a_tuning_that_ends_before_it_measured_all_candidates_replaces_no_change(tmp_path, candidates):
    now = [0.0]

    class Slow(Kept):
        def load_test(self, **given):
            now[0] += 60
            return super().load_test(**given)

    file, again = kept_file(tmp_path)
    before = file.read_bytes()
    # Of minutes, two are for the final comparison. Without a minute for a candidate, the noise gets one pair of servers.
    budget_min = {1: 2.5, 2: 5.5 if THREADS in candidates else 6.5}.get(len(candidates))
    result = result_of(Slow(), *candidates, clock=lambda: now[0], **again, budget_min=budget_min)
    assert file.read_bytes() == before and not result["changed"]
    assert result["tuning"] is None, "a deployment with the results of this run would undo what stays"
    (warning,) = result["warnings"]
    what = "not all candidates were measured" if THREADS in candidates else "no candidate was measured"
    assert warning.startswith(f"m: {what}, so the earlier tuning stays: measured on web-1 at ")


@pytest.mark.parametrize("budget_min", [9, 10])
def test_a_candidate_that_the_budget_left_undecided_replaces_no_change(tmp_path, budget_min):
    now = [0.0]

    class Noisy(Kept):
        def load_test(self, **given):
            now[0] += 60
            return super().load_test(**given)

        def _window(self, target):
            window, lite = super()._window(target), "tflite" in self._server(target)["model_base_path"]
            factor = random.Random(f"{target['port']!r}x").uniform(0.8, 1.25) / (LITE_TIMES if lite else 1)
            return dict(window, **{key: window[key] * factor for key in ("goodput_rps", "throughput_rps")})

    file, again = kept_file(tmp_path)
    before = file.read_bytes()
    result = result_of(Noisy(), THREADS, LITE, clock=lambda: now[0], **again, budget_min=budget_min)
    assert result["tuning"] is None and file.read_bytes() == before


def test_a_tuning_whose_candidates_gain_nothing_replaces_an_earlier_change(tmp_path):
    file, again = kept_file(tmp_path)
    result = result_of(Kept(times_of(form=0.9)), LITE, **again)
    assert result["changed"] and "change: {}" in file.read_text(encoding="utf-8")


def test_a_start_that_misses_the_objective_is_no_busy_machine(tmp_path):
    class Late(Kept):
        def _window(self, target):
            window = super()._window(target)
            return window if "tflite" in self._server(target)["model_base_path"] else dict(window, goodput_rps=0.0)

    result = result_of(Late(), LITE, keep_in=str(tmp_path), tuning_class="c", objective_p99_ms=8.0)
    assert result["tuning"]["total"]["kept"] and "tflite" in (tmp_path / "c" / "m.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("accepted", [False, True])
def test_what_one_request_ends_in_the_final_comparison_is_kept_only_where_that_is_accepted(accepted):
    class Worn(Host):
        def model_server(self, name, state, **given):
            starts = sum(
                module == "model_server" and one["state"] == "started" and "tflite" in one["model_base_path"]
                for module, one in self.calls
            )
            self.fragile = ("tflite_dynamic_range",) if starts > 2 else ()  # it started twice for its step
            return super().model_server(name, state, **given)

    found = tuned("grpc", LITE, host=Worn(), accept_fragile=accepted)
    assert found["total"]["kept"] is accepted is (found["configuration"] != found["start"])
    assert found["total"]["gain"] > 0.4 and f"; but {ENDS}: " in found["total"]["reason"]
    assert ("kept only with accept_fragile: true" in found["total"]["reason"]) is not accepted


@pytest.mark.parametrize("best_size, best_timeout", [(16, 0), (128, 0), (4, 0), (16, 4000), (64, 2000)])
def test_numbers_of_what_was_kept_are_refined_until_nothing_is_gained(best_size, best_timeout):
    def times(server, _rounds):
        batching = server["batching"]
        if not batching:
            return 1.0
        size = abs(math.log2(batching["max_batch_size"] / best_size))
        waiting = abs(math.log2(max(batching["batch_timeout_micros"], 500) / max(best_timeout, 500)))
        return 2.0 * 0.9**size * 0.9**waiting

    class Batching(Host):
        """Remembers what the batching file of a server says."""

        def batching_parameters(self, path, state="present", **given):
            self.files = {**getattr(self, "files", {}), path: given}
            return {}

        def model_server(self, name, state, batching_parameters_file=None, **given):
            batching = getattr(self, "files", {}).get(batching_parameters_file)
            return super().model_server(name, state, batching=batching, **given)

    start = {"max_batch_size": 16, "batch_timeout_micros": 0}
    found = tuned("grpc", ("batching", {"batching": start}), host=Batching(times))
    assert found["configuration"]["batching"] == {"max_batch_size": best_size, "batch_timeout_micros": best_timeout}
    needed = abs(math.log2(best_size / 16)) + (math.log2(best_timeout / 500) if best_timeout else 0)
    assert len(found["steps"]) <= 1 + needed + 4, "each direction ends at the first value that gains nothing"


class Linear(Host):
    """One CPU serves a request of n rows, or a batch of them, in a * n + b ms. Without batching, each request has its own b."""

    def __init__(self, a, b):
        super().__init__()
        self.duration, self.files = lambda rows: (a * rows + b) / 1000, {}

    def batching_parameters(self, path, state="present", **given):
        self.files[path] = given
        return {}

    def model_server(self, name, state, batching_parameters_file=None, **given):
        return super().model_server(name, state, batching=self.files.get(batching_parameters_file), **given)

    def load_test(self, targets, windows, batch, **given):
        (self.rows,) = batch
        return super().load_test(targets, windows, {1: 1.0}, **given)

    def _window(self, target):
        batching = self._server(target)["batching"]
        rows = batching["max_execution_batch_size"] if batching else self.rows
        rate = rows / self.duration(rows) / self.rows
        return dict(super()._window(target), goodput_rps=rate, throughput_rps=rate)


SPLIT = {
    "max_batch_size": 1024,
    "enable_large_batch_splitting": True,
    "max_execution_batch_size": 32,
    "max_enqueued_batches": 32,
    "num_batch_threads": 4,
    "batch_timeout_micros": 0,
}


def test_batching_starts_with_the_values_that_requests_of_several_rows_predict():
    host = Linear(0.1, 0.9)
    found = tuned("grpc", ("batching", {"batching": SPLIT}), host=host)
    (kept,) = (step for step in found["steps"] if step["kept"])
    loads = [given for module, given in host.calls if module == "load_test" and "warmup_max_s" in given]
    assert [(*given["batch"], given["concurrency"]) for given in loads] == [(1, 1), (8, 1), (4, 2), (1, 8)]
    predicted = {"max_execution_batch_size": 8, "num_batch_threads": 1, "batch_timeout_micros": 1000}
    assert kept["change"]["batching"] == {**SPLIT, **predicted, "max_enqueued_batches": 128}
    # A row takes 1 ms alone and (0.8 + 0.9) / 8 ms in a batch.
    assert found["total"]["gain"] == pytest.approx(8 / 1.7 - 1, abs=0.01)


def test_batching_that_cannot_gain_is_not_measured_and_the_report_says_why():
    host = Linear(50, 0.5)
    found = tuned("grpc", ("batching", {"batching": SPLIT}), THREADS, host=host)
    step = next(step for step in found["steps"] if step["name"] == "batching")
    assert step["gain"] is None and not host.files
    assert step["reason"].startswith(
        "batching cannot gain 3 %: a request of 8 rows takes 400 ms, one of 1 row 50.5 ms (50 ms"
    )


def test_a_busy_machine_hides_no_prediction():
    class Busy(Linear):
        def _window(self, target):
            window = super()._window(target)
            return dict(window, void="the generator woke late") if self.rows > 1 else window

    found = tuned("grpc", ("batching", {"batching": SPLIT}), host=Busy(0.1, 0.9))
    assert found["configuration"]["batching"]["max_execution_batch_size"] == 8


def test_batching_is_not_tried_with_one_row_in_flight():
    (step,) = tuned("grpc", BATCHING, traffic={"concurrency": 1})["steps"]
    assert step["reason"] == "batching needs more than one row in flight" and step["gain"] is None


def test_numbers_that_a_user_wants_as_they_are_stay():
    host = Linear(0.1, 0.9)
    (step,) = tuned("grpc", ("batching", {"batching": SPLIT}), host=host, refine=False)["steps"]
    assert step["kept"] and step["change"]["batching"] == SPLIT


@pytest.mark.parametrize("busy_windows, pairs, rounds", [(2, 3, 5), (4, 4, 6), (10, 5, 5), (1000, 3, 0)])
def test_pairs_of_servers_that_a_busy_machine_made_void_are_measured_again(busy_windows, pairs, rounds):
    class Busy(Host):
        def _window(self, target):
            window = super()._window(target)
            return dict(window, void="the generator woke late", errors={}) if self.rounds <= busy_windows else window

    host = Busy()
    found = tuned("grpc", host=host)
    loads = [given for module, given in host.calls if module == "load_test" and given["loop"] == "closed"]
    assert (len(loads), found["noise"]["rounds"]) == (pairs, rounds)
    assert (found["noise"]["gain_interval"] != [None, None]) is (busy_windows < 1000)


def test_who_wants_no_other_values_gets_none():
    host = Host(lambda server, _rounds: 1.5 if server["batching_parameters_file"] else 1.0)
    assert [step["name"] for step in tuned("grpc", BATCHING, host=host, refine=False)["steps"]] == ["batching"]


def test_all_measurements_send_the_traffic_that_was_described():
    host = Host()
    described = {"batch_sizes": {1: 3, 16: 1}, "concurrency": 4, "rate_rps": 30.0, "dimensions": {"*": 128}}
    found = tuned("grpc", LITE, host=host, traffic=described)
    loads = [given for module, given in host.calls if module == "load_test"]
    assert all(one["batch"] == {1: 3, 16: 1} and one["dimensions"] == {"*": 128} for one in loads)
    closed, (last,) = loads[:-1], loads[-1:]
    assert {(one["loop"], one["concurrency"]) for one in closed} == {("closed", 4)}
    assert (last["loop"], last["rate_rps"]) == ("open", 30.0) and found["total"]["open_loop"]["rate_rps"] == 30.0
    assert {name: found["method"][name] for name in described} == described


def test_a_recorded_trace_is_the_open_loop_at_the_end():
    host = Host()
    found = tuned("grpc", LITE, host=host, traffic={"arrivals": "/arrivals.txt"})
    last = (
        host.calls[-1][1]
        if host.calls[-1][0] == "load_test"
        else next(given for module, given in reversed(host.calls) if module == "load_test")
    )
    assert (last["loop"], last["rate_rps"], last["arrivals"]) == ("open", None, "/arrivals.txt")
    assert found["total"]["open_loop"]["rate_rps"] == 7.0  # what the load generator read in the file


def test_traffic_that_cannot_be_sent_is_refused_before_anything_is_measured():
    host = Host()
    with pytest.raises(FleetError, match="^traffic.concurrency: 600 is out of range"):
        tuned("grpc", LITE, host=host, traffic={"concurrency": 600})
    assert not host.calls


class AtARate(Host):
    """A host for open loops: p99_ms: (its servers' description) -> 49 of 50 answers take half of it, one takes it; None for a server that keeps up with
    half of the rate only.
    """

    def __init__(self, p99_ms):
        super().__init__()
        self.p99_ms = p99_ms

    def load_test(self, targets, windows, batch, **given):
        if given["loop"] == "closed":
            return super().load_test(targets, windows, batch, **given)
        count = max(given["window_requests"], 100)
        found = [
            self._at(given["rate_rps"], self._server(target), target, count)
            for name in windows
            for target in targets
            if target["name"] == name
        ]
        return {"windows": found}

    def _at(self, rate_rps, server, target, count):
        self.rounds += 1
        p99_ms, counted = self.p99_ms(server), hdrh.HdrHistogram(1, 3_600_000_000, 3)
        for number in range(count):
            counted.record_value(
                int((p99_ms or 50_000) * (1000 if number % 50 == 0 else 500) * (1 + 0.001 * (self.rounds % 3)))
            )
        return {
            "target": target["name"],
            "goodput_rps": rate_rps,
            "throughput_rps": rate_rps if p99_ms else rate_rps / 2,
            "requests_from": "samples",
            "rate_rps": rate_rps,
            "requests": count,
            "ok": count,
            "errors": {},
            "duration_s": count / rate_rps,
            "histogram": counted.encode().decode(),
            "void": None,
        }


def of_variant(saved_model_ms, lite_ms):
    return lambda server: lite_ms if "tflite" in server["model_base_path"] else saved_model_ms


LATENCY = {"goal": "latency", "traffic": {"rate_rps": 200.0}}


def test_the_goal_latency_keeps_what_has_the_lowest_p99_at_the_rate_of_the_traffic():
    host = AtARate(of_variant(30.0, 20.0))
    found = tuned("grpc", LITE, host=host, **LATENCY)
    (step,) = found["steps"]
    assert step["kept"] and step["gain"] == pytest.approx(30 / 20 - 1, abs=0.01)
    assert (step["before"]["p99_ms"], step["p99_ms"]) == (pytest.approx(30, rel=0.01), pytest.approx(20, rel=0.01))
    assert found["total"]["kept"] and found["total"]["gain"] == pytest.approx(0.5, abs=0.01)
    assert found["total"]["open_loop"]["rate_rps"] == 200.0
    assert found["total"]["open_loop"]["after"]["p99_ms"] == pytest.approx(20, rel=0.01)
    loads = [given for module, given in host.calls if module == "load_test"]
    # 1,000 answers show a p99, and 1,200 planned ones are 1,000 at least: the deviation of a Poisson count is its root.
    assert all(one["loop"] == "open" and one["rate_rps"] == 200.0 and one["window_requests"] == 1200 for one in loads)
    assert (found["method"]["goal"], found["method"]["loop"], found["method"]["concurrency"]) == (
        "latency",
        "open",
        None,
    )


def test_a_lower_p99_of_a_server_that_does_not_keep_up_with_the_rate_is_no_gain():
    (step,) = tuned("grpc", LITE, host=AtARate(of_variant(30.0, None)), **LATENCY)["steps"]
    assert not step["kept"] and "no p99 at the rate in 0 (baseline) and 1 (candidate) of them: slower" in step["reason"]


def test_a_start_that_does_not_keep_up_with_the_rate_does_not_hide_what_does():
    found = tuned("grpc", LITE, host=AtARate(of_variant(None, 20.0)), **LATENCY)
    assert "0 rounds on 0 pairs of servers with p99 at the rate" in found["noise"]["reason"]
    assert found["steps"][0]["kept"] and found["configuration"]["form"] == "tflite_dynamic_range"
    assert found["total"]["kept"] and found["total"]["gain"] is None, "it has no size"


def test_errors_are_no_answers_at_the_rate():
    class Failing(AtARate):
        def _at(self, rate_rps, server, target, count):
            window = super()._at(rate_rps, server, target, count)
            return dict(window, ok=int(0.98 * count)) if "tflite" in server["model_base_path"] else window

    (step,) = tuned("grpc", LITE, host=Failing(of_variant(30.0, 20.0)), **LATENCY)["steps"]
    assert not step["kept"] and "slower" in step["reason"]


@pytest.mark.parametrize(
    "changes, text",
    [
        (
            {"goal": "latency"},
            "traffic: the goal latency needs the rate of the requests. Set rate_rps or arrivals of the traffic.",
        ),
        (
            {"goal": "latency", "traffic": {"rate_rps": 2.0}},
            "window_max_s: a window of at most 120 s at 2 requests/s has 240 requests, but a p99 needs 1200. "
            "Raise it, or set the goal goodput.",
        ),
    ],
)
def test_a_goal_that_cannot_be_measured_is_refused_before_anything_is_measured(changes, text):
    host = Host()
    with pytest.raises(FleetError) as caught:
        tuned("grpc", LITE, host=host, **changes)
    assert str(caught.value) == text and not host.calls


class Queue(AtARate):
    """A host whose servers are M/M/1 queues: at a rate below that of the closed loop, their time in the system is exponential with the difference as its rate
    (Kleinrock, Queueing Systems I, 3.2), so that p99 is ln(100) divided by it. At a higher rate they fall behind.
    """

    void = 0

    def __init__(self):
        super().__init__(None)

    def closed_rps(self, server):
        return REST_RPS * GRPC_TIMES * (LITE_TIMES if "tflite" in server["model_base_path"] else 1)

    def _at(self, rate_rps, server, target, count):
        spare_rps = self.closed_rps(server) - rate_rps
        self.p99_ms = lambda _server: 1000 * math.log(100) / spare_rps if spare_rps > 0 else None
        self.void -= 1
        return dict(
            super()._at(rate_rps, server, target, count), void="the generator woke late" if self.void >= 0 else None
        )


@pytest.mark.parametrize("void", [0, 1])
def test_the_highest_rate_within_the_objective_is_found_for_start_and_result(void):
    host, said = Queue(), []

    def say(text):
        said.append(text)
        if "looking for the highest rate" in text:
            host.void = void

    found = tuned("grpc", LITE, host=host, say=say, objective_p99_ms=100.0)
    highest = found["total"]["open_loop"]["highest_rps"]
    for side, closed_rps in (("before", 300.0), ("after", 450.0)):
        true_rps = closed_rps - math.log(100) / 0.1
        assert true_rps - 1.5 * closed_rps / (32 if not void else 16) - 1 <= highest[side] <= true_rps
    assert said[-1] == (
        f"m: highest rate with a p99 within 100 ms: {highest['before']:.0f} requests/s at the start, {highest['after']:.0f} requests/s at the end"
    )
    rates = [given for module, given in host.calls if module == "load_test" and given["window_requests"] == 1200]
    assert len(rates) == 2 * 5 and found["method"]["void_windows"] == void
    assert not host.servers, "all are stopped at the end"


def test_a_start_that_is_kept_has_one_highest_rate():
    host = Queue()
    highest = tuned("grpc", host=host, objective_p99_ms=100.0)["total"]["open_loop"]["highest_rps"]
    assert highest["before"] == highest["after"] and highest["before"] > 0
    assert (
        len([given for module, given in host.calls if module == "load_test" and given["window_requests"] == 1200]) == 5
    )


def test_without_an_objective_there_is_no_highest_rate_under_it():
    assert tuned("grpc", LITE, host=Queue())["total"]["open_loop"]["highest_rps"] is None


@pytest.mark.parametrize(
    "changes, loads", [({"budget_min": 0.1}, 0), ({"window_max_s": 1.0}, 0), ({"objective_p99_ms": 1.0}, 10)]
)
def test_rates_that_cannot_be_measured_or_are_too_high_are_none(changes, loads):
    host = Queue()
    found = tuned(
        "grpc", LITE, host=host, clock=lambda: 3.0 * len(host.calls), **{"objective_p99_ms": 100.0, **changes}
    )
    assert found["total"]["open_loop"]["highest_rps"] == {"before": None, "after": None}
    assert (
        len([given for module, given in host.calls if module == "load_test" and given["window_requests"] == 1200])
        == loads
    )


def test_a_killed_search_for_the_highest_rate_goes_on_after_its_last_window(tmp_path):
    class Dying(Kept, Queue):
        limit = 99

        def load_test(self, **given):
            if given["window_requests"] == 1200:
                self.limit -= 1
                if self.limit < 0:
                    raise KeyboardInterrupt
            return super().load_test(**given)

    options = {"keep_in": str(tmp_path), "tuning_class": "c", "objective_p99_ms": 100.0}
    first, second = Dying(), Dying()
    first.limit = 4
    with pytest.raises(KeyboardInterrupt):
        tuned("grpc", LITE, host=first, **options)
    assert tuned("grpc", LITE, host=second, **options)["total"]["open_loop"]["highest_rps"]["after"] > 0
    assert second.limit == 99 - (10 - 4)


@pytest.mark.parametrize(
    "changes, sent, requests_from",
    [
        ({}, "/m/m/saved_model/10/assets.extra/tf_serving_warmup_requests", "warm-up file"),
        ({"traffic": {"dimensions": {"*": 8}}}, None, "signature"),
        ({"samples": "/s.npz"}, None, "samples"),
    ],
)
def test_without_samples_the_requests_are_those_that_the_newest_version_warms_up_with(changes, sent, requests_from):
    host = Host()
    host.warmups = [f"/m/m/saved_model/{version}/assets.extra/tf_serving_warmup_requests" for version in (9, 10, 2)]
    found = tuned("grpc", LITE, host=host, **{"samples": None, **changes})
    assert {given["warmup"] for module, given in host.calls if module == "load_test"} == {sent}
    assert found["method"]["requests_from"] == requests_from
    assert found["steps"][0]["kept"] is (requests_from == "samples"), "they verify no answers"


def test_requests_of_an_embedding_use_the_rows_that_the_graph_shows():
    class Embedding(Host):
        def find(self, patterns=None, **given):
            (path,) = given["paths"]
            if path != "/m/m/saved_model" or patterns:
                return super().find(patterns, **given)
            return {"files": [{"path": f"{path}/{number}"} for number in (9, 10)]}

        def saved_model_info(self, path):
            assert path == "/m/m/saved_model/10"
            inputs = {"ids": {"values_below": 1000}, "x": {}}
            return {"saved_model": {"signatures": {"serving_default": {"inputs": inputs}}, "structure": {}}}

    for samples, limits in ((None, {"ids": 1000}), ("/s.npz", {})):
        host = Embedding()
        tuned("grpc", THREADS, host=host, samples=samples)
        loads = [given for module, given in host.calls if module == "load_test"]
        assert loads and all(given["values_below"] == limits for given in loads)


def test_a_server_that_rejects_the_large_requests_is_not_kept_although_it_answers_the_others_faster():
    class Rejecting(Host):
        def _window(self, target):
            window = super()._window(target)
            return (
                dict(window, errors={"INVALID_ARGUMENT": 20})
                if self._server(target)["batching_parameters_file"]
                else window
            )

    host = Rejecting(lambda server, _rounds: 1.5 if server["batching_parameters_file"] else 1.0)
    found = tuned("grpc", BATCHING, host=host, traffic={"batch_sizes": {1: 9, 64: 1}})
    (step,) = found["steps"]
    assert (
        step["gain"] == pytest.approx(0.5, abs=0.01) and not step["kept"] and found["configuration"] == found["start"]
    )
    assert step["reason"].endswith(
        "; but 10.0 % of its requests fail (INVALID_ARGUMENT), 0.0 % of those that it was compared with"
    )


@pytest.mark.parametrize("before, after, kept", [(0, 2, True), (0, 3, False), (20, 22, True), (20, 0, True)])
def test_a_few_failures_more_are_no_reason(before, after, kept):
    class Failing(Host):
        def _window(self, target):
            lite = "tflite" in self._server(target)["model_base_path"]
            return dict(super()._window(target), errors={"UNAVAILABLE": after if lite else before})

    assert tuned("grpc", LITE, host=Failing())["steps"][0]["kept"] is kept  # of 200 requests in a window


def test_a_round_that_a_busy_machine_made_void_does_not_lose_the_pair():
    class Busy(AtARate):
        def _at(self, rate_rps, server, target, count):
            return dict(super()._at(rate_rps, server, target, count), void="late" if self.rounds % 4 == 1 else None)

    found = tuned("grpc", LITE, host=Busy(of_variant(30.0, 20.0)), **LATENCY)
    assert (found["noise"]["instances"], found["noise"]["rounds"]) == (3, 3) and found["steps"][0]["kept"]


def test_a_machine_on_which_nothing_can_be_measured_is_told():
    class Overloaded(AtARate):
        def _at(self, rate_rps, server, target, count):
            return dict(super()._at(rate_rps, server, target, count), void="late")

    reason = tuned("grpc", host=Overloaded(of_variant(30.0, 20.0)), **LATENCY)["noise"]["reason"]
    assert reason.endswith("with p99 at the rate, and the noise is unknown; 12 of 12 windows were void")
