# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deployment that serves a converted variant of an earlier version than the newest SavedModel says so."""

from __future__ import annotations

import hashlib
import json

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import backends, expected_answers
from ansible_collections.tfserving.fleet.plugins.module_utils._model import acceptance, digests, manifest, published
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import model_config

FORM = "tflite_dynamic_range"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def publish(tmp_path, form, number, weights):
    """Publish a version as model_conversion does. The digest of a source is that of its files."""
    source = {"saved_model.pb": {"sha256": digest_of(weights), "bytes": len(weights)}}
    destination = tmp_path / "m" / form
    destination.mkdir(parents=True, exist_ok=True)
    staged = published.stage(str(destination))
    with open(f"{staged}/{'model.tflite' if form == FORM else 'saved_model.pb'}", "wb") as stream:
        stream.write(weights)
    made_from = {"digest": manifest.digest(source), "path": "/srv/source", "tensorflow_version": None}
    files = published.inventory(staged, digests.Digests())
    content = manifest.build(made_from, {"form": form}, None, acceptance.ending(True, ""), files)
    published.finish(staged, str(destination), number, content)
    return destination / str(number) / "manifest.json"


def digest_of(content):
    return hashlib.sha256(content).hexdigest()


def warnings(tmp_path, form=FORM, **more):
    return expected_answers.of_earlier_versions([model_config.model("digits", str(tmp_path / "m" / form), **more)])


def test_a_variant_of_an_earlier_version_is_a_warning_with_a_remedy(tmp_path):
    publish(tmp_path, "saved_model", 1, b"first")
    publish(tmp_path, FORM, 4, b"first")
    assert warnings(tmp_path) == []
    publish(tmp_path, "saved_model", 2, b"retrained")
    (warning,) = warnings(tmp_path)
    assert warning == (
        "digits: version 4 of tflite_dynamic_range was not made from version 2 of saved_model, the newest, so clients get another model. Run "
        "tfserving.fleet.convert, or serve the SavedModel (optimize: none)"
    )
    assert warnings(tmp_path, version_policy={"latest": 1}) == [warning]
    assert warnings(tmp_path, version_policy={"specific": [4]}) == [], "the user chose it"
    assert warnings(tmp_path, "saved_model") == []
    publish(tmp_path, FORM, 5, b"retrained")
    assert warnings(tmp_path) == []


@pytest.mark.parametrize("damage", ["", "{", json.dumps({"schema": 1, "key": "k", "files": {}})])
def test_versions_that_a_user_put_there_are_not_compared(tmp_path, damage):
    publish(tmp_path, "saved_model", 2, b"retrained")
    publish(tmp_path, FORM, 1, b"first").write_text(damage, encoding="utf-8")
    assert warnings(tmp_path) == []


def test_without_a_saved_model_or_a_folder_there_is_nothing_to_compare(tmp_path):
    assert warnings(tmp_path) == []
    publish(tmp_path, FORM, 1, b"first")
    assert warnings(tmp_path) == []
    remote = [model_config.model("digits", f"gs://bucket/m/{FORM}")]
    assert expected_answers.of_earlier_versions(remote) == []


class Unchanged:
    """A backend whose server is as it should be."""

    @staticmethod
    def Backend(*_given):
        return Unchanged

    is_unsure = False

    @staticmethod
    def started(candidate_only):
        assert not candidate_only
        server = {"name": "digits", "state": "started", "grpc_port": 8500, "rest_port": None, "address": "127.0.0.1"}
        server.update(backend="embedded", gap_s=None)
        return {"changed": False, "server": server, "warnings": ["of the backend"], "actions": [], "diff": {}}

    @staticmethod
    def when_ready(result):
        return result


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_deployment_that_changes_nothing_says_it_again(tmp_path, check_mode):
    publish(tmp_path, "saved_model", 2, b"retrained")
    publish(tmp_path, FORM, 1, b"first")
    model = {"name": "digits", "version_policy": None, "labels": {}, "batching": None}
    told = {}
    for form in (FORM, "saved_model"):
        options = {
            **backends._OF_CONTAINERS,
            **dict.fromkeys(("release", "batching", "batching_parameters_file", "model_name", "engine_socket")),
            "ready_timeout_s": 120.0,
            "drain_s": 0.0,
            "tolerance": 0.001,
            "log_max_mib": 10,
            "log_files": 3,
            "state": "started",
            "name": "digits",
            "backend": "embedded",
            "state_directory": str(tmp_path / "state"),
            "models": [dict(model, base_path=str(tmp_path / "m" / form))],
        }
        told[form] = backends.work(options, check_mode, lambda: Unchanged)["warnings"]
    assert told["saved_model"] == ["of the backend"]
    assert len(told[FORM]) == 2 and told[FORM][1].startswith("digits: version 1 of tflite_dynamic_range was not made")
