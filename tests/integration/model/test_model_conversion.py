# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules as processes of their own, as Ansible runs them: publishing, idempotence, refusals, check mode, and what SIGKILL leaves."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time

import pytest
from ansible_collections.tfserving.fleet.tests.support import modules

numpy = pytest.importorskip("numpy")
pytest.importorskip("ansible")
STAGING = ".tfserving-staging-"


def start(name, directory, check=False, **options):
    """A module's process; directory holds its temporary files."""
    directory.mkdir(exist_ok=True)
    return modules.start(name, check, environment={"TMPDIR": str(directory)}, **options)


def run(name, directory, check=False, **options):
    """The module's result as a dict."""
    return modules.result(start(name, directory, check, **options))


def lite(zoo, destination, name="dense", **others):
    return {
        "source": zoo / name,
        "destination": destination,
        "form": "tflite_dynamic_range",
        "samples": zoo / f"{name}.npz",
        "metric": "accuracy",
        "allowed_loss": 0.1,
        **others,
    }


def contents(directory):
    """{relative path: SHA-256} of all files below directory."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def is_whole(version):
    """Whether a published version is what its manifest says; nothing of our code is asked."""
    manifest = json.loads((version / "manifest.json").read_text(encoding="utf-8"))
    found = contents(version)
    found.pop("manifest.json")
    return found == {name: entry["sha256"] for name, entry in manifest["files"].items()} and bool(found)


def test_a_model_is_published_as_it_is_and_again_only_when_it_changed(zoo, tmp_path):
    source, destination, temporary = (
        tmp_path / "source",
        tmp_path / "models" / "dense" / "saved_model",
        tmp_path / "tmp",
    )
    shutil.copytree(zoo / "dense", source)
    planned = run("model_conversion", temporary, check=True, source=source, destination=destination)
    assert planned["changed"] and planned["version"] == 1 and not (tmp_path / "models").exists()
    first = run("model_conversion", temporary, source=source, destination=destination)
    assert (
        first["changed"]
        and first["accepted"]
        and first["path"] == str(destination / "1")
        and first["model"] == "dense"
        and first["form"] == "saved_model"
    )
    assert contents(destination / "1") == dict(
        contents(source), **{"manifest.json": contents(destination / "1")["manifest.json"]}
    ) and is_whole(destination / "1")
    assert json.loads(first["diff"]["after"])["source"]["digest"] and first["diff"]["before"] == ""
    assert (destination / "1").stat().st_mode & 0o777 == 0o755
    again = run("model_conversion", temporary, source=source, destination=destination)
    assert not again["changed"] and again["version"] == 1 and not again["actions"]

    (source / "fingerprint.pb").write_bytes(b"other")
    refused = run("model_conversion", temporary, source=source, destination=destination, version=1)
    assert refused["failed"] and "version 1 already exists" in refused["msg"] and "Set a new version" in refused["msg"]
    second = run("model_conversion", temporary, source=source, destination=destination)
    assert second["changed"] and second["version"] == 2 and is_whole(destination / "1") and is_whole(destination / "2")
    assert json.loads(second["diff"]["before"])["key"] != json.loads(second["diff"]["after"])["key"]

    (destination / "2" / "saved_model.pb").write_bytes(b"damaged")
    assert run("model_conversion", temporary, source=source, destination=destination)["version"] == 3
    assert not list(temporary.iterdir()) and sorted(os.listdir(destination)) == ["1", "2", "3"]


def test_a_lower_number_than_the_newest_is_reported(zoo, tmp_path):
    """A server without version_policy serves the highest number, which is not the one that this call publishes."""
    results = {}
    for number, model in (("41", "dense"), ("42", "float64"), ("41", "dense"), ("40", "dense")):
        source = tmp_path / "sources" / number
        shutil.copytree(zoo / model, source, dirs_exist_ok=True)
        results[number] = run(
            "model_conversion", tmp_path / "tmp", source=source, destination=tmp_path / "models" / "m" / "saved_model"
        )
    assert results["42"]["newer"] == [] and not results["42"].get("warnings")
    assert not results["41"]["changed"] and results["41"]["newer"] == [42]
    assert results["40"]["changed"] and results["40"]["newer"] == [41, 42]
    for number in ("40", "41"):
        warning = str(results[number]["warnings"])
        assert "version 42 is newer" in warning and f"serves it instead of {number}" in warning


def test_a_published_version_can_be_a_source_again(zoo, tmp_path):
    first = run("model_conversion", tmp_path / "tmp", source=zoo / "dense", destination=tmp_path / "a" / "saved_model")
    second = run("model_conversion", tmp_path / "tmp", source=first["path"], destination=tmp_path / "b" / "saved_model")
    digests = {
        json.loads((tmp_path / name / "saved_model" / "1" / "manifest.json").read_text(encoding="utf-8"))["source"][
            "digest"
        ]
        for name in "ab"
    }
    assert second["changed"] and len(digests) == 1


WRONG = [
    ({"version": 0}, "version: 0 is out of range; allowed: 1 to"),
    ({"version": True}, "version: True is not a whole number"),
    ({"destination": "models/dense"}, "destination: 'models/dense' is not an absolute path"),
    ({"allowed_loss": -0.1}, "allowed_loss: -0.1 is out of range; allowed: 0 or more"),
    ({"maximum_difference": -1}, "maximum_difference: -1.0 is out of range"),
    ({"timeout_s": 0}, "timeout_s: 0.0 is out of range"),
    ({"form": "tflite"}, "value of form must be one of: none, tflite_dynamic_range, tflite_float16"),
    ({"signature": "serving_defualt"}, "did you mean serving_default?"),
    ({"server_release": "latest"}, "server_release: 'latest' is not a release of TensorFlow Serving"),
    (
        {"compute_capability": "banana"},
        "compute_capability: 'banana' is not a compute capability, such as 8.6",
    ),
    ({"batch_sizes": [0]}, "each 1 or more"),
    ({"select_tf_ops": True, "form": "none"}, "the variant none does not support select_tf_ops"),
    ({"python": "/nowhere/python"}, "python: cannot run '/nowhere/python'"),
    ({"samples": "/nowhere.npz"}, "/nowhere.npz: cannot be read"),
    ({"source": "/nowhere"}, "/nowhere: this directory does not exist"),
]


def test_wrong_options_are_one_clear_line(zoo, tmp_path):
    results = modules.call_each(
        "model_conversion", [dict(lite(zoo, tmp_path / "models" / "lite"), **change) for change, _words in WRONG]
    )
    assert len(results) == len(WRONG)
    for (change, words), result in zip(WRONG, results):
        assert result["failed"] and words in result["msg"] and "\n" not in result["msg"], (change, result)
    assert not (tmp_path / "models").exists()


def test_a_destination_inside_the_source_is_refused(zoo, tmp_path):
    shutil.copytree(zoo / "dense", tmp_path / "source")
    for inside in (tmp_path / "source", tmp_path / "source" / "models"):
        assert (
            "is inside the source"
            in run("model_conversion", tmp_path / "tmp", source=tmp_path / "source", destination=inside)["msg"]
        )


def test_refusals_publish_nothing_and_fail_only_where_required(zoo, tmp_path):
    destination, temporary = tmp_path / "models" / "hostile" / "lite", tmp_path / "tmp"
    for options, words in (
        (lite(zoo, destination, "hostile"), "above the allowed 0.1"),
        (lite(zoo, destination, "float64", samples=None, metric=None), "float64"),
        (lite(zoo, destination, samples=None), "no samples are set"),
        (lite(zoo, destination, metric=None), "no metric is set"),
    ):
        result = run("model_conversion", temporary, **options)
        assert (
            not result.get("failed")
            and not result["changed"]
            and result["accepted"] is False
            and result["version"] is None
            and words in result["reason"]
        )
        assert not destination.exists() or not os.listdir(destination)
    progress = tmp_path / "progress"
    for check in (True, False):  # What the gates refused is not tried again, as nothing that decides has changed.
        again = run("model_conversion", temporary, check=check, **lite(zoo, destination, "hostile", progress=progress))
        assert (
            not again["changed"]
            and not again["accepted"]
            and "above the allowed 0.1" in again["reason"]
            and again["gates"]
            and not progress.exists()
        )
    other = run("model_conversion", temporary, **lite(zoo, destination, "hostile", progress=progress, allowed_loss=0.2))
    assert progress.exists() and "above the allowed 0.2" in other["reason"]
    result = run(
        "model_conversion", temporary, **lite(zoo, destination, "float64", samples=None, metric=None, required=True)
    )
    assert result["failed"] and "tflite_dynamic_range is refused" in result["msg"] and "float64" in result["msg"]


def test_check_mode_waits_for_what_an_earlier_task_would_make(zoo, tmp_path):
    for missing in ({"source": tmp_path / "later"}, {"samples": tmp_path / "later.npz"}):
        planned = run(
            "model_conversion",
            tmp_path / "tmp",
            check=True,
            **lite(zoo, tmp_path / "models" / "dense" / "lite", **missing),
        )
        assert (
            planned["changed"]
            and str(next(iter(missing.values()))) in str(planned["warnings"])
            and "does not exist yet" in planned["reason"]
        )


def test_load_of_a_model_without_a_batch_dimension(zoo, serve, tmp_path):
    """Each request takes one example without its first axis; in JSON only the column form can say that."""
    published = run(
        "model_conversion", tmp_path / "tmp", source=zoo / "no_batch", destination=tmp_path / "m" / "saved_model"
    )["path"]
    server = serve("--model_name=no_batch", f"--model_base_path={os.path.dirname(published)}").ready()
    for protocol, port in (("grpc", server.grpc_port), ("rest", server.rest_port)):
        found = run(
            "load_test",
            tmp_path / "tmp",
            targets=[{"name": "one", "protocol": protocol, "port": port, "model": "no_batch"}],
            samples=zoo / "no_batch.npz",
            window_s=0.5,
            warmup_max_s=0,
        )
        (window,) = found["windows"]
        assert window["ok"] == window["requests"] > 0 and window["errors"] == {}


@pytest.fixture(scope="module", name="converted")
def a_conversion(zoo, tmp_path_factory):
    """(folder of a form, options of the module that published it, its result)"""
    directory = tmp_path_factory.mktemp("converted")
    options = lite(zoo, directory / "models" / "dense" / "lite", progress=directory / "conversion.progress")
    planned = run("model_conversion", directory / "tmp", check=True, **options)
    assert planned["changed"] and planned["accepted"] is None and not (directory / "models").exists()
    result = run("model_conversion", directory / "tmp", **options)
    assert not list((directory / "tmp").iterdir())
    return options["destination"], options, result


@pytest.mark.slice
def test_conversion_is_judged_published_and_idempotent(zoo, converted, tmp_path):
    destination, options, result = converted
    assert (
        result["accepted"]
        and result["changed"]
        and is_whole(destination / "1")
        and sorted(os.listdir(destination / "1")) == ["assets.extra", "manifest.json", "model.tflite"]
    )
    left, archive = (
        numpy.load(destination / "1" / "assets.extra" / "tfserving_fleet_answers.npz"),
        numpy.load(zoo / "dense.npz"),
    )
    assert (left["inputs.x"] == archive["inputs.x"]).all() and (
        left["outputs.scores"].argmax(axis=1) == archive["labels"]
    ).all()
    assert (
        (left["labels"] == archive["labels"]).all()
        and left["metric.before"] == 1.0
        and left["metric.after"] == result["gates"]["metric"]["after"]
    )
    assert 0 < left["tolerance.scores"] <= result["gates"]["outputs"]["scores"]["max_abs"]
    assert (destination / "1" / "model.tflite").read_bytes()[4:8] == b"TFL3"
    assert (
        result["gates"]["examples"] == 200
        and result["gates"]["metric"]["before"] == 1.0
        and 0.9 <= result["gates"]["metric"]["after"] <= 1.0
    )
    assert json.loads((destination / "1" / "manifest.json").read_text(encoding="utf-8"))["gates"] == result["gates"]
    assert len(options["progress"].read_text(encoding="utf-8").splitlines()) >= 3
    before = contents(destination)
    for check in (True, False):
        again = run("model_conversion", tmp_path / "tmp", check=check, **options)
        assert (
            not again["changed"]
            and again["gates"] == result["gates"]
            and again["reason"] == result["reason"]
            and contents(destination) == before
        )


def test_another_judgement_renews_the_answers_of_the_version(zoo, tmp_path):
    """The number is given: a version that is not what its manifest says would be refused as another one."""
    destination = tmp_path / "models" / "dense" / "lite"
    unjudged = lite(zoo, destination, metric=None, accept_unjudged=True, version=1)
    assert run("model_conversion", tmp_path / "tmp", **unjudged)["changed"] and is_whole(destination / "1")
    answers = destination / "1" / "assets.extra" / "tfserving_fleet_answers.npz"
    assert "metric.before" not in numpy.load(answers)
    judged = run("model_conversion", tmp_path / "tmp", **lite(zoo, destination, version=1))
    assert judged["changed"] and judged["version"] == 1 and is_whole(destination / "1"), judged
    assert numpy.load(answers)["metric.before"] == judged["gates"]["metric"]["before"] == 1.0
    again = run("model_conversion", tmp_path / "tmp", **lite(zoo, destination, version=1))
    assert not again.get("failed") and not again["changed"] and os.listdir(destination) == ["1"], again


def as_if_of_release(directory, release):
    """A Python whose TensorFlow calls itself another release: importlib.metadata takes the first that sys.path has."""
    (directory / f"tensorflow-{release}.dist-info").mkdir(parents=True)
    (directory / f"tensorflow-{release}.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: tensorflow\nVersion: {release}\n", encoding="utf-8"
    )
    python = directory / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={directory} exec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return python


def test_a_numbered_source_stays_after_an_update_of_tensorflow_and_of_the_samples(zoo, tmp_path):
    """The number cannot change, as it is the source's: what does not decide the files of the version must not refuse it."""
    shutil.copytree(zoo / "dense", tmp_path / "42")
    destination = tmp_path / "models" / "dense" / "lite"
    options = lite(zoo, destination, source=tmp_path / "42")
    made = run("model_conversion", tmp_path / "tmp", **options)
    assert made["changed"] and made["version"] == 42
    before = contents(destination)

    newer = as_if_of_release(tmp_path / "newer", "99.1.0")
    found = run("model_conversion", tmp_path / "tmp", **options, python=newer)
    assert not found.get("failed") and not found["changed"] and found["version"] == 42, found
    assert "it stays as TensorFlow" in found["reason"] and contents(destination) == before

    archive = dict(numpy.load(zoo / "dense.npz"))
    numpy.savez(tmp_path / "refreshed.npz", **{name: one[:150] for name, one in archive.items()})
    refreshed = dict(options, samples=tmp_path / "refreshed.npz")
    renewed = run("model_conversion", tmp_path / "tmp", **refreshed)
    assert renewed["changed"] and renewed["version"] == 42 and renewed["gates"]["examples"] == 150, renewed
    assert is_whole(destination / "42") and os.listdir(destination) == ["42"]
    after = contents(destination)
    assert after["42/model.tflite"] == before["42/model.tflite"]
    assert not run("model_conversion", tmp_path / "tmp", **refreshed)["changed"] and contents(destination) == after


def test_a_form_with_other_files_replaces_no_version(zoo, tmp_path):
    """As where another release of the converter makes it for another judgement. The published form was not the one that was judged."""
    destination = tmp_path / "models" / "dense" / "lite"
    options = lite(zoo, destination)
    assert run("model_conversion", tmp_path / "tmp", **options)["version"] == 1
    (destination / "1" / "model.tflite").write_bytes(b"made by another release")
    path = destination / "1" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["files"]["model.tflite"] = {"sha256": contents(destination)["1/model.tflite"], "bytes": 23}
    path.write_text(json.dumps(manifest), encoding="utf-8")
    before = contents(destination)
    kept = run("model_conversion", tmp_path / "tmp", **dict(options, allowed_loss=0.2, version=1))
    assert not kept["changed"] and "has different files than version 1" in str(kept["warnings"]), kept
    assert contents(destination) == before
    made = run("model_conversion", tmp_path / "tmp", **dict(options, allowed_loss=0.2))
    assert made["changed"] and made["version"] == 2 and is_whole(destination / "2") and is_whole(destination / "1")


def records_of(file):
    """The records of a TFRecord file: each has 8 bytes of length, 4 of a checksum, its content, and 4 of another checksum."""
    found, rest = [], file.read_bytes()
    while rest:
        (length,) = struct.unpack("<Q", rest[:8])
        found.append(rest[12 : 12 + length])
        rest = rest[12 + length + 4 :]
    return found


def test_warm_up_requests_are_written_replayed_and_carried_over(zoo, serve, tmp_path):
    """One for each batch size; a server replays them before it serves; a converted form and a copy bring them along."""
    destination = tmp_path / "models" / "dense" / "saved_model"
    made = run(
        "model_conversion",
        tmp_path / "tmp",
        source=zoo / "dense",
        destination=destination,
        samples=zoo / "dense.npz",
        batch_sizes=[1, 8, 32],
    )
    assert made["changed"] and made["warmup_batch_sizes"] == [1, 8, 32] and is_whole(destination / "1"), made
    file = destination / "1" / "assets.extra" / "tf_serving_warmup_requests"
    records, archive = records_of(file), numpy.load(zoo / "dense.npz")
    assert len(records) == 3
    for record, size in zip(records, (1, 8, 32)):
        assert archive["inputs.x"][:size].tobytes() in record
    found = run("saved_model_info", tmp_path / "tmp", path=destination / "1")["saved_model"]["warmup"]
    assert found == {"records": 3, "kinds": {"predict": 3}, "batch_sizes": [1, 8, 32], "faults": []}

    lite_form = run(
        "model_conversion",
        tmp_path / "tmp",
        source=destination / "1",
        destination=tmp_path / "models" / "dense" / "tflite_float16",
        form="tflite_float16",
        accept_unjudged=True,
    )
    assert lite_form["gates"]["examples"] == 41 and not lite_form["gates"]["synthetic"], (
        "its own warm-up requests are samples"
    )
    assert (
        tmp_path / "models/dense/tflite_float16/1/assets.extra/tf_serving_warmup_requests"
    ).read_bytes() == file.read_bytes()
    copied = run(
        "model_conversion",
        tmp_path / "tmp",
        source=destination / "1",
        destination=tmp_path / "models" / "copy" / "saved_model",
    )
    assert copied["warmup_batch_sizes"] == [1, 8, 32]
    server = serve(
        "--prefer_tflite_model=true",
        models={"dense": destination, "lite": tmp_path / "models" / "dense" / "tflite_float16"},
    ).ready()
    told = server.words()
    assert told.count("Number of warmup records read: 3") == 2, told

    broken = tmp_path / "broken"
    shutil.copytree(destination / "1", broken)
    (broken / "assets.extra" / "tf_serving_warmup_requests").write_bytes(file.read_bytes()[:-5])
    refused = run(
        "model_conversion", tmp_path / "tmp", source=broken, destination=tmp_path / "models" / "broken" / "saved_model"
    )
    assert (
        refused["failed"]
        and "its warm-up file: it is not a TFRecord file" in refused["msg"]
        and "Remove the file" in refused["msg"]
    )
    assert not (tmp_path / "models" / "broken").exists()


def test_a_version_is_judged_once_more_through_a_server(zoo, tmp_path):
    options = lite(
        zoo,
        tmp_path / "models" / "convolution" / "tflite_int8",
        "convolution",
        form="tflite_int8",
        through_server=True,
        batch_sizes=[2, 4],
    )
    result = run("model_conversion", tmp_path / "tmp", **options)
    assert result["accepted"] and result["warmup_batch_sizes"] == [2, 4], result
    served, gates = result["gates"]["served"], result["gates"]
    assert served["metric"]["before"] == gates["metric"]["before"] and served["metric"]["after"] == pytest.approx(
        gates["metric"]["after"], abs=0.02
    )
    assert 0 < served["outputs"]["output_0"]["max_abs"] <= gates["outputs"]["output_0"]["max_abs"] * 1.5
    assert not run("model_conversion", tmp_path / "tmp", **options)["changed"] and not list(
        (tmp_path / "tmp").iterdir()
    )
    old = run("model_conversion", tmp_path / "tmp", **options, server_release="1.0.0")
    assert (
        old["accepted"] is False
        and f"needs TensorFlow Lite {result['lowest_runtime']}, but the server is 1.0.0" in old["reason"]
    )


def test_a_metric_of_the_users_own_and_other_files_of_samples(zoo, tmp_path):
    (tmp_path / "far.py").write_text(
        "import numpy\n\n\ndef metric(outputs, labels):\n    return numpy.mean(outputs['scores'].argmax(axis=1) != labels)\n",
        encoding="utf-8",
    )
    archive = numpy.load(zoo / "dense.npz")
    lines = [
        json.dumps({"inputs": {"x": x.tolist()}, "label": int(label)})
        for x, label in zip(archive["inputs.x"], archive["labels"])
    ]
    (tmp_path / "dense.jsonl").write_text("\n".join(lines), encoding="utf-8")
    options = {
        "source": zoo / "dense",
        "form": "tflite_float16",
        "samples": tmp_path / "dense.jsonl",
        "metric": "function",
        "metric_function": tmp_path / "far.py",
        "metric_goal": "lower",
        "allowed_loss": 0.05,
    }
    result = run("model_conversion", tmp_path / "tmp", destination=tmp_path / "models" / "dense" / "a", **options)
    assert result["accepted"] and result["gates"]["examples"] == 200, result
    assert result["gates"]["metric"] == {
        "name": "function",
        "before": 0.0,
        "after": result["gates"]["metric"]["after"],
        "allowed_loss": 0.05,
        "goal": "lower",
    }
    (tmp_path / "far.py").write_text(
        "def metric(outputs, labels):\n    return outputs['scores'][0, 0] / 0 / len(nothing)\n", encoding="utf-8"
    )
    broken = run("model_conversion", tmp_path / "tmp", destination=tmp_path / "models" / "dense" / "a", **options)
    assert broken["failed"] and "far.py: NameError" in broken["msg"] and "\n" not in broken["msg"]


def test_memory_that_a_conversion_will_not_find_is_missed_before_it_starts(zoo, tmp_path):
    options = lite(
        zoo,
        tmp_path / "models" / "a" / "lite",
        "gigabyte",
        samples=None,
        metric=None,
        accept_unjudged=True,
        memory_mib=4096,
        progress=tmp_path / "progress",
    )
    result = run("model_conversion", tmp_path / "tmp", **options)
    assert (
        result["failed"]
        and "MiB of memory, but only 4096 MiB are free. Convert on a host with more memory" in result["msg"]
    )
    assert not (tmp_path / "progress").exists(), "the converter did not begin"
    assert not (tmp_path / "models" / "a" / "lite").exists()


def test_tensorrt_is_refused_before_anything_starts(zoo, tmp_path):
    options = lite(
        zoo,
        tmp_path / "models" / "dense" / "tensorrt",
        form="tensorrt",
        batch_sizes=[1, 8],
        server_release="2.17.1",
        compute_capability="8.6",
    )
    result = run("model_conversion", tmp_path / "tmp", **options)
    assert result["accepted"] is False and "Convert with TensorFlow 2.17" in result["reason"]
    newer = run("model_conversion", tmp_path / "tmp", **dict(options, server_release="2.20.0"))
    assert (
        newer["accepted"] is False
        and "built without TensorRT" in newer["reason"]
        and "Use release 2.17.1" in newer["reason"]
    )


def test_a_killed_conversion_leaves_no_half_version_and_the_next_run_no_directory(zoo, tmp_path):
    """SIGKILL to the module, to all its processes, or to the converter alone: while it converts, or once the converted file is there and the version is not."""
    temporary, destination = tmp_path / "tmp", tmp_path / "dense" / "lite"
    for whom, moment in (
        ("module", "converting"),
        ("all", "converting"),
        ("converter", "converting"),
        ("module", "publishing"),
    ):
        shutil.rmtree(destination / "1", ignore_errors=True)
        progress, staged = tmp_path / f"{whom}-{moment}.progress", set(destination.glob(STAGING + "*/model.tflite"))
        process = start("model_conversion", temporary, **lite(zoo, destination, progress=progress))
        while process.poll() is None and not (
            progress.exists() if moment == "converting" else set(destination.glob(STAGING + "*/model.tflite")) - staged
        ):
            time.sleep(0.001)
        outcome = killed(process, whom)
        assert is_whole_or_nothing(destination) and (moment == "publishing" or outcome == "killed"), (
            whom,
            moment,
            outcome,
        )
    ends_of_killed_conversions(zoo, temporary, destination)


@pytest.mark.soak
def test_a_conversion_that_is_killed_at_any_moment_leaves_no_half_version(zoo, tmp_path, seed):
    """SIGKILL 30 times, at random moments of the whole conversion and of publishing; to the module, to all its processes, or to the converter alone."""
    temporary, began = tmp_path / "tmp", time.monotonic()
    run("model_conversion", temporary, **lite(zoo, tmp_path / "first" / "lite"))
    duration = time.monotonic() - began

    def lane(number):
        """15 kills, one after the other, as the machine has two processors."""
        destination, moments, outcomes = tmp_path / f"dense{number}" / "lite", random.Random(seed + number), []
        for kill in range(15):
            shutil.rmtree(destination / "1", ignore_errors=True)
            process = start("model_conversion", temporary, **lite(zoo, destination))
            if kill % 3 == 0:  # While it publishes: the converted file is there, the version is not.
                while process.poll() is None and not list(destination.glob(STAGING + "*/model.tflite")):
                    time.sleep(0.001)
                time.sleep(moments.uniform(0, 0.05))
            else:
                time.sleep(moments.uniform(0.05, duration))
            outcomes.append(killed(process, ("module", "all", "converter")[kill % 5 % 3]))
            assert is_whole_or_nothing(destination), outcomes
        return outcomes

    with concurrent.futures.ThreadPoolExecutor(2) as lanes:
        outcomes = [outcome for made in lanes.map(lane, range(2)) for outcome in made]
    assert "killed" in outcomes
    for number in range(2):
        ends_of_killed_conversions(zoo, temporary, tmp_path / f"dense{number}" / "lite")


def is_whole_or_nothing(destination):
    """Whether what a server could see is version 1 as a whole, or no version."""
    visible = [name for name in os.listdir(destination) if not name.startswith(STAGING)] if destination.exists() else []
    return visible == [] or visible == ["1"] and is_whole(destination / "1")


def ends_of_killed_conversions(zoo, temporary, destination):
    """No converter is left; the next run publishes, and removes what the killed ones left."""
    until = time.monotonic() + 60
    while converters(temporary) and time.monotonic() < until:
        time.sleep(0.05)
    assert not converters(temporary), "a converter outlived its caller"
    shutil.rmtree(destination / "1", ignore_errors=True)
    assert run("model_conversion", temporary, **lite(zoo, destination))["version"] == 1
    assert os.listdir(destination) == ["1"] and is_whole(destination / "1") and not list(temporary.iterdir())


def killed(process, whom):
    """Send SIGKILL to a module, to it and all that it started, or to its converter alone; "killed" where that met it, "ended" where it was faster."""
    below = [int(child) for child in children(process.pid)]
    alone = whom == "converter" and bool(below)
    for one in below if alone else [process.pid, *(below if whom == "all" else ())]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    out, _error = process.communicate(timeout=300)
    if alone and out.strip():
        result = json.loads(out)
        assert not result.get("failed") or "was killed by SIGKILL" in result["msg"], result
        return "killed" if result.get("failed") else "ended"
    return "killed" if process.returncode == -signal.SIGKILL else "ended"


def children(process):
    """The ids of the processes that one started."""
    try:
        with open(f"/proc/{process}/task/{process}/children", encoding="ascii") as stream:
            return stream.read().split()
    except FileNotFoundError:
        return []


def converters(temporary):
    """Processes whose command line names a program below temporary."""
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as stream:
                if str(temporary).encode() in stream.read():
                    found.append(name)
        except OSError:
            continue
    return found


@pytest.fixture(name="large")
def a_large_source(zoo, tmp_path):
    """A model with 200 MiB beside it, so that a copy takes a while."""
    shutil.copytree(zoo / "dense", tmp_path / "large")
    (tmp_path / "large" / "assets.extra").mkdir()
    (tmp_path / "large" / "assets.extra" / "large").write_bytes(bytes(range(256)) * (200 << 12))
    return tmp_path / "large"


def test_a_killed_copy_leaves_no_half_version(large, tmp_path):
    destination, temporary = tmp_path / "models" / "dense" / "saved_model", tmp_path / "tmp"
    process = start("model_conversion", temporary, source=large, destination=destination)
    while process.poll() is None and not list(destination.glob(STAGING + "*/assets.extra/large")):
        time.sleep(0.001)
    assert killed(process, "module") == "killed" and all(name.startswith(STAGING) for name in os.listdir(destination))
    assert run("model_conversion", temporary, source=large, destination=destination)["version"] == 1
    assert os.listdir(destination) == ["1"] and is_whole(destination / "1")


@pytest.mark.soak
def test_a_copy_that_is_killed_at_any_moment_leaves_no_half_version(large, tmp_path, seed):
    destination, temporary, moments = (
        tmp_path / "models" / "dense" / "saved_model",
        tmp_path / "tmp",
        random.Random(seed),
    )
    for _kill in range(20):
        process = start("model_conversion", temporary, source=large, destination=destination)
        time.sleep(moments.uniform(0.1, 1.2))
        killed(process, "module")
        assert is_whole_or_nothing(destination)
        shutil.rmtree(destination / "1", ignore_errors=True)
    assert run("model_conversion", temporary, source=large, destination=destination)["version"] == 1
    assert os.listdir(destination) == ["1"] and is_whole(destination / "1")


def test_a_conversion_that_takes_too_long_ends(zoo, tmp_path):
    result = run("model_conversion", tmp_path / "tmp", **lite(zoo, tmp_path / "models" / "lite", timeout_s=1.2))
    assert result["failed"] and "no result after 1.2 s" in result["msg"]
    assert not list((tmp_path / "tmp").iterdir()) and not converters(tmp_path / "tmp")
    assert not (tmp_path / "models" / "lite").exists() or not os.listdir(tmp_path / "models" / "lite")


def test_info_needs_no_library(zoo):
    """The module's own work under an interpreter that sees the standard library alone."""
    program = (
        "import runpy, sys, json\nrunpy.run_path(sys.argv[1])\n"
        "from ansible_collections.tfserving.fleet.plugins.module_utils._model import analysis, saved_model\n"
        "described = saved_model.read(sys.argv[2])\n"
        "print(json.dumps(analysis.analyse('s', described['signatures']['serving_default'], described['ops']['serving_default'])))"
    )
    conftest = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "conftest.py")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, conftest, str(zoo / "vocabulary")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout)["string_inputs"] == ["word"]


@pytest.mark.parametrize("check", [False, True])
def test_info_as_a_module(zoo, tmp_path, check):
    found = run("saved_model_info", tmp_path / "tmp", check=check, path=zoo / "several_signatures")
    assert not found["changed"] and set(found["saved_model"]["signatures"]) == {"serving_default", "double"}
    assert found["saved_model"]["analysis"]["double"]["tensorflow_lite"]["likely"]
    assert found["saved_model"]["loaded"] is None
    broken = run("saved_model_info", tmp_path / "tmp", check=check, path=zoo / "cut_short")
    assert broken["failed"] and "not a SavedModel" in broken["msg"] and "\n" not in broken["msg"]


def test_info_loads_the_model_and_sends_it_malformed_requests(zoo, tmp_path):
    """TensorFlow 2.21 with oneDNN on was seen to abort at a convolution whose input has too few dimensions."""
    found = run("saved_model_info", tmp_path / "tmp", path=zoo / "dense", load=True, server_release="2.20.0")[
        "saved_model"
    ]
    assert found["loaded"]["survives"] and found["loaded"]["answered"] == ["serving_default"]
    assert {"signature": "serving_default", "request": "x of rank 1", "outcome": "refused"} in found["loaded"][
        "malformed_requests"
    ]
    assert found["loaded"]["load_s"] < 60 and found["warnings"] == [
        "TensorFlow 2.21.0 wrote the model, but the server is 2.20.0: an older server rejects operations and attributes that it does not know. "
        "Export the model with the server's release, or verify that it loads there."
    ]
    fragile = run("saved_model_info", tmp_path / "tmp", path=zoo / "convolution", load=True)["saved_model"]
    assert fragile["analysis"]["serving_default"]["malformed_request"]["can_kill"]
    assert not fragile["loaded"]["survives"] and fragile["loaded"]["malformed_requests"][-1]["outcome"] == "killed", (
        fragile["loaded"]
    )
    assert not list((tmp_path / "tmp").iterdir())


def test_a_server_is_checked_by_the_module(zoo, serve, tmp_path):
    (tmp_path / "dense").mkdir()
    (tmp_path / "dense" / "1").symlink_to(zoo / "dense")
    server = serve("--model_name=dense", f"--model_base_path={tmp_path}/dense").ready()
    target = {"port": server.grpc_port, "model": "dense"}
    found = run(
        "model_server_check", tmp_path / "tmp", target=target, samples=zoo / "dense.npz", metric="accuracy", batch=50
    )
    assert (found["changed"], found["examples"], found["metric"], found["outputs"]) == (
        False,
        200,
        {"name": "accuracy", "value": 1.0},
        None,
    )
    rest = dict(target, protocol="rest", port=server.rest_port)
    found = run(
        "model_server_check", tmp_path / "tmp", target=target, reference_target=rest, samples=zoo / "dense.npz", limit=9
    )
    assert found["examples"] == 9 and found["metric"] is None and found["outputs"]["scores"]["max_abs"] < 1e-6
    wrong = (
        ({"target": dict(target, port=0)}, "target.port: 0 is out of range; allowed: 1 to 65535"),
        ({"batch": 0}, "batch: 0 is out of range"),
        ({"limit": 0}, "limit: 0 is out of range"),
        ({"target": dict(target, model="absent")}, "NOT_FOUND"),
        ({"deadline_s": -1}, "deadline_s: -1.0 is out of range"),
    )
    results = modules.call_each(
        "model_server_check", [{"target": target, "samples": zoo / "dense.npz", **change} for change, _words in wrong]
    )
    assert len(results) == len(wrong)
    for (change, words), failed in zip(wrong, results):
        assert failed["failed"] and words in failed["msg"] and "\n" not in failed["msg"], (change, failed)


def test_what_is_served_is_judged_by_the_manifest_of_its_conversion(zoo, converted, serve, tmp_path):
    destination, _options, made = converted
    server = serve("--model_name=dense", f"--model_base_path={destination}", "--prefer_tflite_model=true").ready()
    options = {"target": {"port": server.grpc_port, "model": "dense"}, "samples": zoo / "dense.npz"}
    found = run("model_server_check", tmp_path / "tmp", **options, conversion=made["path"])
    assert (
        found["accepted"] and found["metric"]["name"] == "accuracy" and "within the allowed 0.1" in found["reason"]
    ), found
    manifest = json.loads((destination / "1" / "manifest.json").read_text(encoding="utf-8"))
    manifest["gates"]["metric"]["before"] = (
        found["metric"]["value"] + 0.2
    )  # As if the source had been that much better.
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    worse = run("model_server_check", tmp_path / "tmp", **options, conversion=tmp_path)
    assert (
        worse["failed"]
        and "the served model is refused: accuracy" in worse["msg"]
        and "above the allowed 0.1. Serve the source" in worse["msg"]
    )
    none = run("model_server_check", tmp_path / "tmp", **options, conversion=zoo / "dense")
    assert none["failed"] and "manifest.json: cannot be read" in none["msg"]


PLAY = [
    os.path.join(os.path.dirname(sys.executable), "ansible-playbook"),
    "tfserving.fleet.convert",
    "-i",
    "inventory.json",
]


def surroundings(directory):
    """Environment variables that keep what Ansible writes below a directory."""
    return dict(
        os.environ, ANSIBLE_NOCOLOR="1", ANSIBLE_HOME=str(directory / "home"), XDG_CACHE_HOME=str(directory / "cache")
    )


def play(directory, inventory, *flags, status=0):
    """What the playbook convert says."""
    (directory / "inventory.json").write_text(json.dumps(inventory), encoding="utf-8")
    done = subprocess.run(
        [*PLAY, *flags],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=surroundings(directory),
        cwd=directory,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr if status else done.stdout


LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
DISCOVERED = {
    "ansible_connection": "local",
    "ansible_python_interpreter": "auto_silent",
    "ansible_interpreter_python_fallback": [sys.executable],
}


def test_the_role_publishes_and_a_second_run_changes_nothing(zoo, tmp_path):
    """The playbook convert: check mode with diff on a clean host, then for real, then again."""
    models = [
        {
            "name": "dense",
            "source": str(zoo / "dense"),
            "samples": str(zoo / "dense.npz"),
            "metric": "accuracy",
            "allowed_loss": 0.1,
        },
        {"name": "float64", "source": str(zoo / "float64"), "optimize": "auto", "version": 5},
        {"name": "strings", "source": str(zoo / "strings"), "optimize": "none"},
    ]
    inventory = {
        "all": {
            "hosts": {"localhost": DISCOVERED},
            "vars": {
                "tfserving_model_directory": str(tmp_path / "models"),
                "tfserving_models": models,
            },
        }
    }
    planned = play(tmp_path, inventory, "--check", "--diff")
    assert "changed=1" in planned and '+  "key":' in planned and not (tmp_path / "models").exists()
    made = play(tmp_path, inventory)
    assert (
        "changed=1" in made
        and "dense: tflite_dynamic_range: accuracy 1 before" in made
        and "float64: tflite_dynamic_range: input x is float64" in made
    )
    assert sorted(str(path.relative_to(tmp_path / "models")) for path in (tmp_path / "models").glob("*/*/*")) == [
        "dense/saved_model/1",
        "dense/tflite_dynamic_range/1",
        "float64/saved_model/5",
        "strings/saved_model/1",
    ]
    before = contents(tmp_path / "models")
    assert "changed=0" in play(tmp_path, inventory) and contents(tmp_path / "models") == before


@pytest.mark.parametrize("later", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_converters_of_the_inventory_convert_once_for_their_hosts(zoo, tmp_path, later, seed):
    """Three hosts get what two converters made, whole; their plans name the forms. The first run is killed as it ships, the third changes nothing."""
    models = [
        {
            "name": "dense",
            "source": str(zoo / "dense"),
            "samples": str(zoo / "dense.npz"),
            "metric": "accuracy",
            "allowed_loss": 0.1,
            "batching": {"max_batch_size": 4, "allowed_batch_sizes": [2, 4]},
        }
    ]

    def host(name, form=None, **variables):
        plan = {"models": [{"name": "dense", "form": form, "batching": None}], "candidates": []}
        return dict(
            LOCAL,
            tfserving_model_directory=str(tmp_path / name),
            **variables,
            **({"tfs_capabilities_plan_result": {"plan": plan}} if form else {}),
        )

    inventory = {
        "all": {
            "vars": {"tfserving_python": sys.executable, "tfserving_models": models},
            "children": {
                "tfserving_converters": {"hosts": {"one": host("one"), "two": host("two"), "idle": host("idle")}},
                "serving": {
                    "hosts": {
                        "a": host("a", "tflite_float16"),
                        "b": host("b", "saved_model", tfs_model_converter="two"),
                        "c": host("c", "tflite_dynamic_range", tfs_model_converter="two"),
                    }
                },
            },
        }
    }
    (tmp_path / "inventory.json").write_text(json.dumps(inventory), encoding="utf-8")
    killed_when_it_ships(tmp_path, random.Random(seed).uniform(0, 4) if later else 0)
    for manifest in tmp_path.glob("[abc]/dense/*/[0-9]*/manifest.json"):
        assert is_whole(manifest.parent)
    play(tmp_path, inventory)
    made = {"one": {"saved_model", "tflite_float16"}, "two": {"saved_model", "tflite_dynamic_range"}}
    wanted = dict(made, a=made["one"], b=made["two"], c=made["two"])
    assert {name: {path.name for path in (tmp_path / name / "dense").iterdir()} for name in wanted} == wanted and not (
        tmp_path / "idle"
    ).exists()
    for name, converter in (("a", "one"), ("b", "two"), ("c", "two")):
        for form in wanted[name]:
            shipped, origin = (contents(tmp_path / place / "dense" / form / "1") for place in (name, converter))
            shipped.pop("manifest.json", None)
            assert (
                origin.pop("manifest.json")
                and shipped == origin
                and "assets.extra/tf_serving_warmup_requests" in shipped
            )
    manifest = json.loads(
        (tmp_path / "a" / "dense" / "tflite_float16" / "1" / "manifest.json").read_text(encoding="utf-8")
    )
    assert manifest["gates"]["metric"]["name"] == "accuracy", "how it was judged travels with it"
    before = {name: contents(tmp_path / name) for name in wanted}
    assert (
        play(tmp_path, inventory).count("changed=0") == 5
        and {name: contents(tmp_path / name) for name in wanted} == before
    )


def test_other_warm_up_requests_of_a_converter_reach_its_hosts(zoo, tmp_path):
    """Of the same version, whose number the source's folder gives; and none where the model has no batch sizes any more."""
    shutil.copytree(zoo / "dense", tmp_path / "42")
    model = {"name": "dense", "source": str(tmp_path / "42"), "samples": str(zoo / "dense.npz"), "optimize": "none"}
    plan = {"models": [{"name": "dense", "form": "saved_model", "batching": None}], "candidates": []}
    hosts = {name: dict(LOCAL, tfserving_model_directory=str(tmp_path / name)) for name in ("one", "a")}
    hosts["a"]["tfs_capabilities_plan_result"] = {"plan": plan}
    children = {"tfserving_converters": {"hosts": {"one": hosts["one"]}}, "serving": {"hosts": {"a": hosts["a"]}}}
    warmup = "assets.extra/tf_serving_warmup_requests"
    converter, host = (tmp_path / name / "dense" / "saved_model" / "42" for name in ("one", "a"))
    for sizes in ([1, 2], [1, 2, 4], []):
        models = [{**model, "batch_sizes": sizes} if sizes else model]
        inventory = {
            "all": {"vars": {"tfserving_python": sys.executable, "tfserving_models": models}, "children": children}
        }
        assert "changed=0" not in play(tmp_path, inventory), sizes
        assert (len(records_of(host / warmup)) if sizes else (host / warmup).exists()) == len(sizes)
        assert is_whole(converter) and is_whole(host)
    assert play(tmp_path, inventory).count("changed=0") == 2
    alone = play(tmp_path, inventory, "--limit", "a", status=2)
    assert "tfs_model_converter: one published no models in this run. If --limit leaves it out, add it;" in alone


def test_hosts_in_a_list_all_get_the_models_of_the_converter(zoo, tmp_path):
    """tfserving_hosts is a pattern, or several of them in a text or a list."""
    model = {"name": "dense", "source": str(zoo / "dense"), "version": 42, "optimize": "none"}
    for number, pattern in enumerate(("a,b", ["a", "b"], "serving:!c")):
        hosts = {
            name: dict(LOCAL, tfserving_model_directory=str(tmp_path / f"{number}{name}"))
            for name in ("one", "a", "b", "c")
        }
        serving = {name: hosts[name] for name in ("a", "b", "c")}
        inventory = {
            "all": {
                "vars": {
                    "tfserving_python": sys.executable,
                    "tfserving_models": [model],
                    "tfserving_backend": "embedded",
                },
                "children": {"tfserving_converters": {"hosts": {"one": hosts["one"]}}, "serving": {"hosts": serving}},
            }
        }
        output = play(tmp_path, inventory, "-e", json.dumps({"tfserving_hosts": pattern}))
        planned = output.partition("TASK [Plan this host]")[2].partition("PLAY [")[0]
        assert {name for name in hosts if f"[{name}]" in planned} == {"a", "b"}, pattern
        have = {name for name in hosts if (tmp_path / f"{number}{name}" / "dense" / "saved_model" / "42").is_dir()}
        assert have == {"one", "a", "b"}, pattern


def killed_when_it_ships(directory, after_s):
    """The playbook convert, killed with SIGKILL so long after the first file came to a host. What it began on a host goes on and ends by itself."""
    with subprocess.Popen(
        PLAY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=surroundings(directory),
        cwd=directory,
        start_new_session=True,
    ) as running:
        while not list(directory.glob("[abc]/dense/*")):
            assert running.poll() is None
            time.sleep(0.01)
        time.sleep(after_s)
        os.killpg(running.pid, signal.SIGKILL)
