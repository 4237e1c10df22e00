# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module batching_parameters, run as Ansible runs it: in a process of its own, with JSON in and JSON out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import wire
from ansible_collections.tfserving.fleet.tests.support import modules
from google.protobuf import text_format

HOST = {"cpu": {"usable": 2.0}, "gpus": [], "memory": {"usable_mib": 8000}}
LEGAL = {
    "serving_default": {
        "inputs": {"x": {"dtype": "float32", "shape": [None, 4]}},
        "outputs": {"y": {"dtype": "float32", "shape": [None, 1]}},
    }
}
SCALAR = {
    "serving_default": {
        "inputs": {"x": {"dtype": "float32", "shape": []}},
        "outputs": {"y": {"dtype": "float32", "shape": [None]}},
    }
}


def call(**options):
    """The module's result, its warnings as texts."""
    result = modules.call("batching_parameters", **options)
    return dict(result, warnings=[warning["event"]["msg"] for warning in result.get("warnings", [])])


def message_in(path):
    return text_format.Parse(Path(path).read_text(), wire.message("tensorflow.serving.BatchingParameters")())


@pytest.fixture
def models(tmp_path):
    """Two published models of three versions, and one that nobody lists; their files are not real, so signatures are given."""
    for version in (
        "digits/saved_model/1",
        "digits/saved_model/002",
        "digits/saved_model/.staged",
        "words/saved_model/7",
        "other/saved_model/3",
    ):
        (tmp_path / version).mkdir(parents=True)
        (tmp_path / version / "model.tflite").write_bytes(b"TFL3")
    return tmp_path


def test_writes_once_shows_it_before_and_does_not_touch_it_again(tmp_path):
    path = tmp_path / "batching.pbtxt"
    wish = {"path": str(path), "max_batch_size": 32, "batch_timeout_micros": 1000}
    shown = call(check=True, **wish)
    assert shown["changed"] and not path.exists() and shown["actions"] == [f"write {path}"]
    written = call(**wish)
    assert (
        written["changed"]
        and written["diff"] == shown["diff"]
        and written["diff"]["after"] == path.read_text() == written["text"]
    )
    assert message_in(path).max_batch_size.value == 32
    before = path.stat()
    again = call(**wish)
    assert not again["changed"] and again["actions"] == [] and path.stat().st_ino == before.st_ino
    changed = call(path=str(path), max_batch_size=64, batch_timeout_micros=1000)
    assert (
        "max_batch_size { value: 32 }" in changed["diff"]["before"]
        and "max_batch_size { value: 64 }" in changed["diff"]["after"]
    )
    assert changed["parameters"]["max_batch_size"] == 64 and changed["reasons"] == {
        "max_batch_size": "given",
        "batch_timeout_micros": "given",
    }


def test_foreign_content_is_shown_and_replaced(tmp_path):
    path = tmp_path / "batching.pbtxt"
    path.write_bytes(b"max_batch_size: 8 \xff\n")
    path.chmod(0o640)
    done = call(path=str(path), max_batch_size=8)
    assert done["diff"]["before"] == "max_batch_size: 8 \ufffd\n"
    assert message_in(path).max_batch_size.value == 8
    assert path.stat().st_mode & 0o777 == 0o640, "the mode of what was there stays"


def test_absent_removes_and_is_content_where_nothing_is(tmp_path):
    path = tmp_path / "batching.pbtxt"
    call(path=str(path))
    assert path.read_text().startswith("#")
    assert call(check=True, path=str(path), state="absent")["changed"] and path.exists()
    assert call(path=str(path), state="absent")["changed"] and not path.exists()
    assert not call(path=str(path), state="absent")["changed"]


def test_mode_is_given_and_kept(tmp_path):
    path = tmp_path / "batching.pbtxt"
    assert call(path=str(path), mode="0600")["changed"] and path.stat().st_mode & 0o777 == 0o600
    assert not call(path=str(path), mode="0600")["changed"]
    shown = call(check=True, path=str(path), mode="0644")
    assert shown["changed"] and path.stat().st_mode & 0o777 == 0o600
    assert shown["actions"] == [f"set mode of {path} to 0644"]
    assert shown["diff"] == {
        "before": "mode: 0600\n",
        "after": "mode: 0644\n",
        "before_header": str(path),
        "after_header": str(path),
    }
    both = call(path=str(path), mode="u=rw,go=r", max_batch_size=8)
    assert [len(both["diff"]), len(both["actions"])] == [2, 2] and path.stat().st_mode & 0o777 == 0o644


def test_start_values_leave_the_users_own_alone(tmp_path):
    path = tmp_path / "batching.pbtxt"
    done = call(path=str(path), capabilities=HOST, num_batch_threads=7)
    message = message_in(path)
    assert message.num_batch_threads.value == 7 and done["reasons"]["num_batch_threads"] == "given"
    assert message.max_batch_size.value >= 1000 and len(done["reasons"]["max_batch_size"]) > 20


def test_start_values_keep_to_the_users_own_size_of_a_batch(tmp_path):
    """A queue of batches of 16 rows must hold a request of 1,024: 64 of them (shared_batch_scheduler.h)."""
    done = call(
        path=str(tmp_path / "b"),
        capabilities=HOST,
        max_batch_size=1024,
        enable_large_batch_splitting=True,
        max_execution_batch_size=16,
    )
    assert done["parameters"]["max_enqueued_batches"] == 64
    # 588 KiB a row, 1,024 rows a batch: of an eighth of 64,000 MiB 13 batches are full.
    image = {"serving_default": {"inputs": {"x": {"dtype": "float32", "shape": [None, 224, 224, 3]}}, "outputs": {}}}
    done = call(
        path=str(tmp_path / "b"),
        capabilities=dict(HOST, memory={"usable_mib": 64000}),
        goal="bulk",
        max_batch_size=4096,
        enable_large_batch_splitting=True,
        max_execution_batch_size=1024,
        models=[{"name": "m", "signatures": image}],
    )
    assert done["parameters"]["max_enqueued_batches"] == 13


def test_memory_that_nobody_could_read_bounds_no_queue(tmp_path):
    done = call(
        path=str(tmp_path / "b"),
        capabilities=dict(HOST, memory={"usable_mib": None}),
        goal="bulk",
        models=[{"name": "m", "signatures": LEGAL}],
    )
    assert "the memory is unknown" in done["reasons"]["max_enqueued_batches"]


def test_an_empty_list_of_sizes_is_none(tmp_path):
    plain, empty = (
        call(path=str(tmp_path / "b"), capabilities=HOST, **more) for more in ({}, {"allowed_batch_sizes": []})
    )
    assert plain["text"] == empty["text"]


def test_null_among_a_models_own_parameters_leaves_those_of_all(tmp_path):
    done = call(
        path=str(tmp_path / "b"),
        num_batch_threads=5,
        models=[{"name": "m", "batching": {"num_batch_threads": None}}, {"name": "n"}],
    )
    assert done["parameters"]["num_batch_threads"] == 5


BAD = [
    ({"max_batch_size": 0}, "max_batch_size: 0 is out of range; allowed: 1 to 2147483647 rows."),
    ({"max_batch_size": 0, "capabilities": HOST}, "max_batch_size: 0 is out of range; allowed: 1 to 2147483647 rows."),
    ({"batch_timeout_micros": -1}, "batch_timeout_micros: -1 is out of range; allowed: 0 to 3600000000 microseconds."),
    ({"max_enqueued_batches": 0}, "max_enqueued_batches: 0 is out of range; allowed: 1 to 2147483647 batches."),
    ({"num_batch_threads": 0}, "num_batch_threads: 0 is out of range; allowed: 1 to 10000 threads."),
    ({"thread_pool_name": "a b"}, "thread_pool_name: 'a b' is not a valid name"),
    ({"allowed_batch_sizes": [4, 2]}, "allowed_batch_sizes: [4, 2] does not increase strictly"),
    ({"enable_large_batch_splitting": True}, "enable_large_batch_splitting: true needs max_batch_size"),
    ({"max_execution_batch_size": 8}, "max_execution_batch_size: 8 has no effect"),
    ({"max_batch_size": "many"}, "max_batch_size"),
    ({"max_batch_size": 8.5}, "max_batch_size"),
    ({"allowed_batch_sizes": ["x"]}, "allowed_batch_sizes"),
    ({"pad_variable_length_inputs": "perhaps"}, "pad_variable_length_inputs"),
    ({"goal": "fast"}, "goal must be one of: online, bulk"),
    ({"state": "gone"}, "state must be one of: present, absent"),
    ({"capabilities": {"cpu": {"usable": 2.0}}}, "capabilities: cpu.usable, gpus and memory.usable_mib are needed"),
    ({"capabilities": {"cpu": 3}}, "capabilities.cpu: 3 is not what tfserving.fleet.capability_facts returns here"),
    (
        {"capabilities": dict(HOST, memory={"usable_mib": "lots"}), "goal": "bulk"},
        "capabilities.memory.usable_mib: 'lots' is not what",
    ),
    ({"models": [{"name": ""}]}, "models[0].name: '' is not a valid name for a model"),
    ({"models": [{"name": "a", "version": -3}]}, "models[0].version: -3 is out of range; allowed: 0 to"),
    ({"models": [{"name": "a", "directory": "models/a"}]}, "models[0].directory: 'models/a' is not an absolute path"),
    (
        {"models": [{"name": "a", "batching": False}]},
        "models: a: batching: False is not known; allowed: none, auto, or a mapping of parameters.",
    ),
    ({"models": [{"name": "a", "batching": "nonne"}]}, "models: a: batching: 'nonne' is not known"),
    (
        {"models": [{"name": "a", "batching": [{"max_batch_size": 3}]}]},
        "models: a: batching: [{'max_batch_size': 3}] is not known",
    ),
    (
        {"models": [{"name": "a", "batching": {"max_batch_size": "three"}}]},
        "models: a: max_batch_size: 'three' is not a whole number",
    ),
    (
        {"mode": "rwx"},
        "mode: 'rwx' is not a valid file mode; allowed: octal digits in quotes, such as '0644', or symbols, such as u=rw,g=r.",
    ),
    ({"mode": "o644"}, "mode: 'o644' is not a valid file mode"),
    ({"mode": 9999}, "mode: 9999 is not a valid file mode"),
    ({"max_bach_size": 8}, "max_bach_size"),
    ({"models": [{"directory": "/srv"}]}, "name"),
    (
        {"models": [{"name": "digits", "signatures": SCALAR}]},
        "models: digits: signature serving_default, input x: it is a scalar",
    ),
    (
        {"models": [{"name": "digits", "batching": "none"}, {"name": "words"}]},
        "models: digits: this model has different batching, but one file applies to all models",
    ),
    (
        {"models": [{"name": "a", "batching": {"max_batch_size": 3}}, {"name": "b"}]},
        "models: b: this model has different batching, but one file applies to all models",
    ),
    ({"models": [{"name": "a", "signatures": {"serving_default": {"inputs": 3}}}]}, "models: a: signatures"),
    ({"models": [{"name": "a"}, {"name": "a"}]}, "models: a"),
]


@pytest.mark.parametrize("check", [False, True], ids=["run", "check"])
def test_bad_input_fails_in_one_line_and_writes_nothing(tmp_path, check):
    path = str(tmp_path / "batching.pbtxt")
    results = modules.call_each("batching_parameters", [{"path": path, **wrong} for wrong, _words in BAD], check=check)
    assert len(results) == len(BAD)
    for (wrong, words), result in zip(BAD, results):
        assert result.get("failed") and words in result["msg"] and "\n" not in result["msg"], (wrong, result)
    assert list(tmp_path.iterdir()) == []


def test_missing_directories_are_made(tmp_path):
    path = tmp_path / "state" / "serving" / "batching.pbtxt"
    assert call(check=True, path=str(path))["changed"] and list(tmp_path.iterdir()) == []
    assert call(path=str(path))["changed"] and path.exists()


def test_bad_places_fail_in_one_line(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for path, words in (
        (None, "path: not set"),
        ("batching.pbtxt", "is not an absolute path"),
        (str(tmp_path / "folder"), "cannot read the file: Is a directory"),
        (str(tmp_path / "file/batching.pbtxt"), "cannot read the file: Not a directory"),
    ):
        done = call(path=path, max_batch_size=8)
        assert done["failed"] and words in done["msg"] and "\n" not in done["msg"]
    for check in (True, False):
        done = call(check=check, path=f"{tmp_path}/new/", max_batch_size=8)
        assert (
            done["failed"]
            and done["msg"].startswith(f"path: '{tmp_path}/new/' is the name of a directory")
            and not (tmp_path / "new").exists()
        )


def test_an_owner_or_a_group_that_is_not_known_fails_before_anything_is_written(tmp_path):
    for option in ("owner", "group"):
        done = call(path=str(tmp_path / "batching.pbtxt"), max_batch_size=8, **{option: "nobody-has-this-name"})
        assert (
            done["failed"]
            and done["msg"] == f"{option}: 'nobody-has-this-name' does not exist on this host."
            and list(tmp_path.iterdir()) == []
        )


def test_a_directory_that_may_not_be_written_to_fails_before_anything_is_written(models):
    """Root obeys permissions too once it has lost its capability to override them."""
    prefix = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"] if os.geteuid() == 0 else []
    models.chmod(0o555)
    done = call(prefix=prefix, path=str(models / "batching.pbtxt"), max_batch_size=8)
    assert done["failed"] and "cannot write" in done["msg"]
    done = call(
        prefix=prefix,
        path=str(models / "batching.pbtxt"),
        per_model=True,
        max_batch_size=8,
        models=[{"name": "digits", "directory": str(models / "digits/saved_model"), "signatures": LEGAL}],
    )
    assert done["failed"] and list(models.rglob("*.pbtxt")) == []


def test_per_model_files_in_all_versions_and_threads_beside(models):
    wish = {
        "path": str(models / "batching.pbtxt"),
        "per_model": True,
        "num_batch_threads": 3,
        "max_batch_size": 16,
        "models": [
            {
                "name": "digits",
                "directory": str(models / "digits/saved_model"),
                "signatures": LEGAL,
                "batching": {"batch_timeout_micros": 500},
            },
            {"name": "words", "directory": str(models / "words/saved_model"), "signatures": LEGAL},
        ],
    }
    shown = call(check=True, **wish)
    done = call(**wish)
    assert done["changed"] and done["diff"] == shown["diff"]
    server, digits, words = (
        message_in(models / name)
        for name in (
            "batching.pbtxt",
            "digits/saved_model/002/batching_params.pbtxt",
            "words/saved_model/7/batching_params.pbtxt",
        )
    )
    assert server.num_batch_threads.value == 3 and not server.HasField("max_batch_size")
    assert (
        digits.max_batch_size.value == 16
        and digits.batch_timeout_micros.value == 500
        and not digits.HasField("num_batch_threads")
    )
    assert words.max_batch_size.value == 16 and not words.HasField("batch_timeout_micros")
    assert sorted(str(place.parent.relative_to(models)) for place in models.rglob("batching_params.pbtxt")) == [
        "digits/saved_model/002",
        "digits/saved_model/1",
        "words/saved_model/7",
    ]
    assert message_in(models / "digits/saved_model/1/batching_params.pbtxt") == digits, "a server may serve both"
    assert done["warnings"] == [], "folders that the server is not told to serve are none of its business"
    assert not call(**wish)["changed"]


def test_a_model_that_is_no_longer_batched_loses_its_file(models):
    digits = {"name": "digits", "directory": str(models / "digits/saved_model"), "version": 1, "signatures": LEGAL}
    call(per_model=True, models=[digits], max_batch_size=8)
    place = models / "digits/saved_model/1/batching_params.pbtxt"
    assert place.exists()
    done = call(per_model=True, models=[dict(digits, batching="none")])
    assert done["changed"] and not place.exists() and done["models"][0]["parameters"] is None
    assert not call(per_model=True, models=[dict(digits, batching="none")])["changed"]


def test_where_no_model_is_batched_there_is_no_file(tmp_path):
    path = tmp_path / "batching.pbtxt"
    call(path=str(path), capabilities=HOST)
    done = call(path=str(path), capabilities=HOST, models=[{"name": "digits", "batching": "none"}])
    assert done["changed"] and not path.exists() and done["parameters"] is None


def test_nothing_is_written_when_one_of_the_models_is_wrong(models):
    good = {"name": "digits", "directory": str(models / "digits/saved_model"), "signatures": LEGAL}
    other = {"name": "words", "directory": str(models / "words/saved_model"), "signatures": LEGAL}
    for bad, words in (
        (dict(other, signatures=SCALAR), "models: words: signature serving_default, input x: it is a scalar"),
        (dict(other, batching={"max_batch_size": 0}), "models: words: max_batch_size: 0"),
        (dict(other, batching={"max_bach_size": 4}), "did you mean max_batch_size"),
        (dict(other, batching={"num_batch_threads": 2}), "belong to the whole server"),
        (dict(other, version=8), "version 8 is missing in "),
        (dict(other, directory=str(models / "nowhere")), "present: none"),
        (dict(other, directory=None), "directory is not set"),
    ):
        done = call(per_model=True, max_batch_size=8, models=[good, bad])
        assert done["failed"] and words in done["msg"] and "\n" not in done["msg"], done
        assert list(models.rglob("*.pbtxt")) == []
    done = call(per_model=True, num_batch_threads=2, models=[good])
    assert done["failed"] and done["msg"].startswith("num_batch_threads: the threads belong to the whole server")


def test_two_models_with_one_file_are_refused(models):
    digits = {"name": "digits", "directory": str(models / "digits/saved_model"), "signatures": LEGAL}
    (models / "link").symlink_to(models / "digits")
    again = dict(digits, name="again", directory=str(models / "link/saved_model"))
    for other in (again, dict(again, batching="none")):
        done = call(per_model=True, max_batch_size=8, models=[digits, other])
        assert (
            done["failed"]
            and done["msg"].startswith("models: the file ")
            and "of the model again is also the file of the model digits" in done["msg"]
        )
    done = call(
        path=str(models / "digits/saved_model/002/batching_params.pbtxt"),
        per_model=True,
        max_batch_size=8,
        models=[digits],
    )
    assert done["failed"] and "is also the file of the server" in done["msg"] and list(models.rglob("*.pbtxt")) == []


def test_check_mode_on_a_clean_host_shows_what_would_come(tmp_path):
    """The versions that an earlier task would have published are missing."""
    done = call(
        check=True,
        path=str(tmp_path / "later/batching.pbtxt"),
        per_model=True,
        capabilities=HOST,
        models=[{"name": "digits", "directory": str(tmp_path / "models/digits/saved_model"), "signatures": LEGAL}],
    )
    assert done["changed"] and "num_batch_threads { value: 2 }" in done["diff"]["after"]
    assert any("A run that publishes it will also write its file" in warning for warning in done["warnings"])
    assert list(tmp_path.iterdir()) == []


def test_threads_that_models_carry_go_to_the_servers_file_if_they_agree(models):
    """A plan puts all parameters with each model."""

    def wish(*threads):
        return {
            "path": str(models / "batching.pbtxt"),
            "per_model": True,
            "models": [
                {
                    "name": name,
                    "directory": str(models / name / "saved_model"),
                    "signatures": LEGAL,
                    "batching": {"num_batch_threads": count, "max_batch_size": 8},
                }
                for name, count in zip(("digits", "words"), threads)
            ],
        }

    refused = call(**wish(2, 3))
    assert refused["failed"] and refused["msg"].startswith("models: words: num_batch_threads: 3 here and 2 elsewhere")
    assert list(models.rglob("*.pbtxt")) == []
    call(**wish(2, 2))
    assert message_in(models / "batching.pbtxt").num_batch_threads.value == 2
    assert not message_in(models / "words/saved_model/7/batching_params.pbtxt").HasField("num_batch_threads")
