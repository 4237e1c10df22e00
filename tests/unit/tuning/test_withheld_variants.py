# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A faster variant is not kept if it is of an earlier version of the model, or if clients would lose a signature."""

from __future__ import annotations

import base64
import random

import pytest

pytest.importorskip("hdrh.histogram")

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import acceptance, manifest
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import tuning_files
from ansible_collections.tfserving.fleet.tests.support.simulated_host import BATCHING, LITE, Host, Truth, run

FORM = LITE["form"]
DEFAULT, EMBED = "serving_default", "embed"


def files(weights):
    return {"saved_model.pb": {"sha256": "0" * 64, "bytes": 1}, "variables/v": {"sha256": weights * 64, "bytes": 1}}


def saved_model(weights):
    source = {"path": "/srv/source", "digest": manifest.digest(files(weights)), "tensorflow_version": None}
    return manifest.build(source, {"form": "none"}, None, acceptance.ending(True, ""), files(weights))


def lite(weights):
    source = {"path": "/srv/source", "digest": manifest.digest(files(weights)), "tensorflow_version": None}
    made = {"model.tflite": {"sha256": "f" * 64, "bytes": 1}}
    return manifest.build(source, {"form": FORM}, None, acceptance.ending(True, ""), made)


def face(output):
    return {
        "inputs": {"x": {"dtype": "float32", "shape": [None, 4]}},
        "outputs": {output: {"dtype": "float32", "shape": [None]}},
    }


class Publishing(Host):
    """A host with published versions, {variant: {number: manifest or None}}, on which TensorFlow Lite is three times as fast."""

    def __init__(self, versions, signatures=None):
        super().__init__(Truth([3.0], batching_of_lite=1.5), random.Random("web-1"))
        self.versions, self.signatures, self.started = versions, signatures or {DEFAULT: face("score")}, set()

    def find(self, paths, patterns=None, **_given):
        if patterns or not paths[0].startswith("/m/m"):
            return {"files": []}
        names = {path: self.versions if path == "/m/m" else self.versions[path.rpartition("/")[2]] for path in paths}
        return {"files": [{"path": f"{path}/{name}", "isdir": True} for path, of in names.items() for name in of]}

    def slurp(self, src):
        form, number, name = src.split("/")[-3:]
        found = self.versions[form][int(number)]
        if found is None or name != "manifest.json":
            raise FleetError(f"file not found: {src}", where="ansible.builtin.slurp")
        return {"content": base64.b64encode(manifest.text(found).encode()).decode(), "encoding": "base64"}

    def saved_model_info(self, path):
        assert path == f"/m/m/saved_model/{max(self.versions['saved_model'])}"
        return {"saved_model": {"signatures": self.signatures, "structure": {"signatures": "0", "graph": "1"}}}

    def model_server(self, name, state, **given):
        self.started |= {given["model_base_path"]} if state == "started" else set()
        return super().model_server(name, state, **given)


OLD = {"saved_model": {1: saved_model("a"), 10: saved_model("b")}, FORM: {9: lite("a")}}


@pytest.mark.parametrize("tries", [[LITE], [LITE, {**LITE, **BATCHING}], [BATCHING, LITE]])
def test_a_variant_of_an_earlier_version_is_left_out(tries):
    host = Publishing(OLD)
    found = run(host, "web-1", tries=tries)["tuning"]
    steps = [step for step in found["steps"] if "form" in step["change"]]
    assert steps and not any(step["kept"] for step in steps) and found["configuration"]["form"] == "saved_model"
    assert {step["gain"] for step in steps} == {None} and host.started == {"/m/m/saved_model"}
    for step in steps:
        assert step["reason"] == (
            "version 9 of tflite_dynamic_range was not made from version 10 of saved_model, the newest of the model: its conversion was refused, or "
            "tfserving.fleet.convert did not run"
        )


@pytest.mark.parametrize(
    "versions",
    [
        # The numbers differ where the source is not in a numbered folder; what counts is the source.
        {"saved_model": {2: saved_model("b")}, FORM: {1: lite("b")}},
        {"saved_model": {1: saved_model("b")}, FORM: {1: lite("a"), 2: lite("b")}},
        # Versions that the user put there are not compared.
        {"saved_model": {2: None}, FORM: {1: lite("a")}},
        {"saved_model": {2: saved_model("b")}, FORM: {1: None}},
        {FORM: {1: lite("a")}, "saved_model": {}},
    ],
)
def test_a_variant_of_the_newest_version_is_kept(versions):
    found = run(Publishing(versions), "web-1", tries=[LITE])["tuning"]
    assert found["configuration"]["form"] == FORM and found["total"]["kept"]


def test_a_start_of_an_earlier_version_is_measured_as_it_serves():
    found = run(Publishing(OLD), "web-1", tries=[BATCHING], start={"form": FORM})["tuning"]
    assert found["configuration"]["form"] == FORM


def test_what_tensorflow_lite_gains_is_measured_and_not_kept_where_clients_lose_a_signature():
    versions = {"saved_model": {1: saved_model("a")}, FORM: {1: lite("a")}}
    host = Publishing(versions, {DEFAULT: face("score"), EMBED: face("vector"), "rank": face("rank")})
    found = run(host, "web-1", tries=[LITE, BATCHING, {**LITE, **BATCHING}])["tuning"]
    alone, _batching, both = found["steps"][:3]
    assert alone["gain"] > 1 and not alone["kept"] and found["configuration"]["form"] == "saved_model"
    lost = "TensorFlow Lite would serve only serving_default, and clients could no longer call embed, rank; request it with optimize: tflite_dynamic_range"
    assert alone["reason"].endswith(f"; {lost}") and (both["gain"], both["reason"]) == (None, lost)
    assert not any(step["kept"] for step in found["steps"] if "form" in step["change"])


@pytest.mark.parametrize(
    ("signatures", "changes"),
    [
        ({DEFAULT: face("score"), "serve": face("score"), "__saved_model_init_op": face("init")}, {}),
        ({"classify": face("score"), "predict": face("score")}, {"signature": "classify"}),
        ({EMBED: face("vector")}, {}),  # the requests fail, and their message says why
    ],
)
def test_tensorflow_lite_is_kept_where_no_client_misses_anything(signatures, changes):
    versions = {"saved_model": {1: saved_model("a")}, FORM: {1: lite("a")}}
    found = run(Publishing(versions, signatures), "web-1", tries=[LITE], **changes)["tuning"]
    assert found["configuration"]["form"] == FORM and found["total"]["kept"]


def test_a_variant_that_the_user_requested_serves_one_signature():
    versions = {"saved_model": {1: saved_model("a")}, FORM: {1: lite("a")}}
    host = Publishing(versions, {DEFAULT: face("score"), EMBED: face("vector")})
    host.truth.batching_of_lite = 3.0
    found = run(host, "web-1", tries=[BATCHING], start={"form": FORM})["tuning"]
    assert found["configuration"]["form"] == FORM and found["configuration"]["batching"] and found["total"]["kept"]


@pytest.mark.parametrize(
    ("versions", "signatures", "words"),
    [
        (OLD, None, "version 9 of tflite_dynamic_range was not made from version 10 of saved_model"),
        (
            {"saved_model": {1: None}, FORM: {1: None}},
            {DEFAULT: face("score"), EMBED: face("vector")},
            "clients could no longer call embed",
        ),
    ],
)
def test_a_second_host_whose_variant_must_not_be_kept_repeats_nothing(tmp_path, versions, signatures, words):
    kept = {"keep_in": str(tmp_path), "tuning_class": "c", "tries": [LITE]}
    current = {"saved_model": {1: saved_model("a")}, FORM: {1: lite("a")}}
    run(Publishing(current), "web-1", **kept)
    before = tuning_files.of_model(str(tmp_path), "c", "m")
    host = Publishing(versions, signatures)
    with pytest.raises(FleetError, match=f"^m: the final comparison of web-1 cannot be repeated: .*{words}"):
        run(host, "web-2", repeat=True, **kept)
    assert not host.started and tuning_files.of_model(str(tmp_path), "c", "m") == before
    assert before.change == LITE
