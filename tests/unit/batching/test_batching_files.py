# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files a server's models need. That threads belong to the server, and that a model without its file is not batched: bundle_factory_util.cc."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._batching.files import Request, for_server, per_model
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

HOST = {"cpu": {"usable": 2.0}, "gpus": [], "memory": {"usable_mib": 8000}}


def signatures(*shape):
    return {
        "serving_default": {
            "inputs": {"x": {"dtype": "float32", "shape": list(shape)}},
            "outputs": {"y": {"dtype": "float32", "shape": [None, 1]}},
        }
    }


FLAT = signatures(None, 4)


def model(name="m", batching="auto", **more):
    return {"name": name, "batching": batching, "signatures": more.get("of", FLAT)}


def request(*models, given=None, **more):
    return Request(given or {}, models, **more)


def lines(file):
    return file.text.splitlines()[1:]


def test_one_file_holds_what_is_given():
    file, warnings = for_server(request(given={"max_batch_size": 8, "num_batch_threads": None}))
    assert (lines(file), file.model, file.reasons, warnings) == (
        ["max_batch_size { value: 8 }"],
        None,
        {"max_batch_size": "given"},
        [],
    )
    assert file.as_dict("/b") == {
        "path": "/b",
        "text": file.text,
        "parameters": dict(dict.fromkeys(file.parameters.as_dict()), max_batch_size=8),
        "reasons": {"max_batch_size": "given"},
    }


def test_one_file_is_completed_where_the_host_is_known():
    file, warnings = for_server(request(model(), given={"num_batch_threads": 7}, capabilities=HOST))
    assert (
        warnings == []
        and file.reasons["num_batch_threads"] == "given"
        and file.reasons["max_batch_size"].startswith("the most rows")
    )
    assert lines(file) == [
        "max_batch_size { value: 1024 }",
        "batch_timeout_micros { value: 0 }",
        "max_enqueued_batches { value: 32 }",
        "num_batch_threads { value: 7 }",
        "enable_large_batch_splitting { value: true }",
        "max_execution_batch_size { value: 32 }",
    ]
    bulk = for_server(request(model(), capabilities=HOST, goal="bulk"))[0]
    assert "max_execution_batch_size { value: 256 }" in lines(bulk)


def test_the_queue_of_one_file_is_for_the_largest_row_of_all_models():
    """256 rows of 1 MiB are 256 MiB; an eighth of 16,000 MiB holds 7 of them."""
    two = [model("a"), model("b", of=signatures(None, 512, 512))]
    assert "max_enqueued_batches { value: 7 }" in lines(
        for_server(request(*two, capabilities=dict(HOST, memory={"usable_mib": 16000}), goal="bulk"))[0]
    )


def test_one_file_takes_the_parameters_that_all_models_share():
    same = {"max_batch_size": 16, "thread_pool_name": None}
    assert lines(
        for_server(
            request(model("a", same), model("b", dict(same)), given={"max_batch_size": 8, "num_batch_threads": 3})
        )[0]
    ) == ["max_batch_size { value: 16 }", "num_batch_threads { value: 3 }"]


@pytest.mark.parametrize("others", [[model("b")], [model("b", "none")], [model("b", {"max_batch_size": 16})]])
def test_one_file_cannot_batch_models_unlike(others):
    with pytest.raises(FleetError) as fault:
        for_server(request(model("a", {"max_batch_size": 8}), *others))
    assert (
        str(fault.value)
        == "models: b: this model has different batching, but one file applies to all models. Set per_model to true."
    )


def test_one_file_cannot_leave_the_first_model_out():
    with pytest.raises(FleetError, match="models: a: this model has different batching"):
        for_server(request(model("a", None), model("b")))


@pytest.mark.parametrize("batching", ["none", None])
def test_no_file_is_needed_where_no_model_is_batched(batching):
    assert for_server(
        request(model("a", batching), model("b", "none"), given={"max_batch_size": 8}, capabilities=HOST)
    ) == (None, [])


def test_files_of_models_hold_no_threads_and_the_servers_holds_nothing_else():
    server, files, warnings = per_model(
        request(
            model("a"),
            model("b", {"max_batch_size": 8}),
            model("c", "none"),
            given={"num_batch_threads": 3, "thread_pool_name": "pool", "batch_timeout_micros": 5, "max_batch_size": 16},
        ),
        True,
    )
    assert (lines(server), server.model, warnings) == (
        ["num_batch_threads { value: 3 }", 'thread_pool_name { value: "pool" }'],
        None,
        [],
    )
    assert [(file.model, lines(file)) for file in files] == [
        ("a", ["max_batch_size { value: 16 }", "batch_timeout_micros { value: 5 }"]),
        ("b", ["max_batch_size { value: 8 }", "batch_timeout_micros { value: 5 }"]),
    ]
    assert files[1].reasons == {"max_batch_size": "given", "batch_timeout_micros": "given"}


def test_start_values_go_to_the_file_that_they_belong_to():
    server, (file,), _warnings = per_model(request(model("a"), capabilities=HOST), True)
    assert list(server.reasons) == ["num_batch_threads"] and lines(server) == ["num_batch_threads { value: 2 }"]
    assert set(file.reasons) == {
        "max_batch_size",
        "batch_timeout_micros",
        "max_enqueued_batches",
        "enable_large_batch_splitting",
        "max_execution_batch_size",
    }
    assert per_model(request(model("a", "none"), capabilities=HOST), False) == (None, [], [])


def test_threads_of_a_model_become_the_servers():
    server, files, _warnings = per_model(
        request(model("a", {"num_batch_threads": 5, "max_batch_size": 8}), model("b", {"num_batch_threads": 5})), True
    )
    assert lines(server) == ["num_batch_threads { value: 5 }"] and [lines(file) for file in files] == [
        ["max_batch_size { value: 8 }"],
        [],
    ]


@pytest.mark.parametrize(
    ("models", "given", "words"),
    [
        (
            [model("a", {"num_batch_threads": 5}), model("b", {"num_batch_threads": 6})],
            {},
            "models: b: num_batch_threads: 6 here and 5 elsewhere, but the threads belong to the whole server. "
            "Set num_batch_threads once for all models, not in single entries of models.",
        ),
        (
            [model("a", {"num_batch_threads": 5})],
            {"num_batch_threads": 4},
            "models: a: num_batch_threads: 5 here and 4 elsewhere",
        ),
        (
            [model("a", {"allowed_batch_sizes": [8], "max_batch_size": 9})],
            {},
            "models: a: allowed_batch_sizes: the last entry 8 is not max_batch_size (9)",
        ),
    ],
)
def test_files_of_models_that_cannot_be(models, given, words):
    with pytest.raises(FleetError) as fault:
        per_model(request(*models, given=given), True)
    assert str(fault.value).startswith(words)


def test_threads_need_the_servers_own_file():
    for given, models, option in (
        ({"num_batch_threads": 3}, [model()], "num_batch_threads"),
        ({}, [model("a", {"thread_pool_name": "p"})], "thread_pool_name"),
    ):
        with pytest.raises(FleetError) as fault:
            per_model(request(*models, given=given), False)
        assert str(fault.value) == (
            f"{option}: the threads belong to the whole server, so a model's file cannot set them. "
            "Set path as well, for the server's own file."
        )


@pytest.mark.parametrize("files", [for_server, lambda asked: per_model(asked, True)], ids=["one", "per_model"])
@pytest.mark.parametrize(
    ("models", "words"),
    [
        ([model(), model("")], "models[1].name: '' is not a valid name for a model."),
        ([model(), model(None)], "models[1].name: None is not a valid name for a model."),
        ([model(), model()], "models: m: it is listed more than once."),
        ([model("a", "on")], "models: a: batching: 'on' is not known"),
        ([model("a", {"max_batch_size": 0})], "models: a: max_batch_size: 0 is out of range"),
        ([model("a", of={"s": {}})], "models: a: signatures: it does not have the structure of a model's signatures"),
        ([model("a", of=signatures())], "models: a: signature serving_default, input x: it is a scalar"),
    ],
)
def test_models_that_cannot_be_batched(files, models, words):
    with pytest.raises(FleetError) as fault:
        files(request(*models))
    assert str(fault.value).startswith(words)


@pytest.mark.parametrize(
    "files", [lambda asked: for_server(asked)[1], lambda asked: per_model(asked, False)[2]], ids=["one", "per_model"]
)
def test_what_may_go_wrong_is_said_of_its_model(files):
    padded = {"pad_variable_length_inputs": True}
    warnings = files(request(model("a", padded, of=None), model("b", padded, of=signatures(None, None))))
    assert warnings == [
        "model a: its signatures are unknown, so it was not checked whether it can be batched",
        "model b, signature serving_default, input x: shorter examples are padded with copies of the tensor's first element; "
        "the model must ignore padding",
    ]


def test_signatures_of_one_name_in_two_models_both_count():
    wide = model("b", of=signatures(None, 1024, 1024))
    several = for_server(request(model("a"), wide, capabilities=dict(HOST, memory={"usable_mib": 16000}), goal="bulk"))[
        0
    ]
    alone = for_server(request(wide, capabilities=dict(HOST, memory={"usable_mib": 16000}), goal="bulk"))[0]
    assert several.parameters == alone.parameters
