# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What our reader says of a signature is what a session runs for it: TensorFlow's own trace of one request names the operations that ran."""

from __future__ import annotations

import os
import re
import shutil
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
numpy = pytest.importorskip("numpy")
tensorflow = pytest.importorskip("tensorflow")
import failing_models
import graph_models
import unset_models
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    analysis,
    conversion_program,
    saved_model,
    statefulness,
    variant_refusals,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.client import GrpcClient
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault

tf1 = tensorflow.compat.v1
NAMES = {
    make.__name__: [f"{make.__name__}_v{version}" for version in (1, 2)]
    for make in graph_models.CLEAN + graph_models.IMPURE + graph_models.OPEN
}
OPTIONS = {"form": "tflite_dynamic_range", "metric": None, "accept_unjudged": True}


def names(makes):
    return [name for make in makes for name in NAMES[make.__name__]]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("graphs")
    graph_models.build(str(directory))
    unset_models.build(str(directory))
    return directory


def ran(path, name="serving_default", **feeds):
    """(names of the operations that TensorFlow ran for one request, the answers of two)."""
    options = tf1.RunOptions(trace_level=tf1.RunOptions.FULL_TRACE)
    config = tf1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    with tf1.Session(graph=tensorflow.Graph(), config=config) as session:
        signature = tf1.saved_model.load(session, ["serve"], str(path)).signature_def[name]
        feed = {signature.inputs[key].name: value for key, value in feeds.items()}
        fetched, trace = [tensor.name for tensor in signature.outputs.values()], tf1.RunMetadata()
        answers = [session.run(fetched, feed, options=options, run_metadata=trace) for _turn in range(2)]
    labels = [stats.timeline_label for device in trace.step_stats.dev_stats for stats in device.node_stats]
    return {found.group(1) for found in (re.search(r"= (\w+)\(", label) for label in labels) if found}, answers


def said(path):
    described = saved_model.read(str(path))
    return described, described["signatures"]["serving_default"], described["ops"]["serving_default"]


def impure(ops):
    return {*statefulness.random_ops(ops), *statefulness.state_ops(ops), *statefulness.python_ops(ops)}


X = numpy.ones([2, 4], numpy.float32)


@pytest.mark.parametrize("name", names(graph_models.CLEAN))
def test_what_a_request_does_not_run_refuses_no_conversion(models, name):
    described, signature, ops = said(models / name)
    executed, (first, second) = ran(models / name, x=X)
    for one, other in zip(first, second):
        numpy.testing.assert_array_equal(one, other)
    assert impure(ops) == set() and not described["uncertain_ops"]
    assert not described["untrusted_ops"], "loading it runs none of that either"
    unread = executed & (
        statefulness.RANDOM if name.startswith(("noise_that", "nothing_to")) else set()
    )  # Drawn, and no answer depends on it.
    assert impure(executed) - unread == set(), "the session itself ran it"
    assert variant_refusals.refusal(OPTIONS, signature, None, None, ops) is None
    found = analysis.analyse("serving_default", signature, ops)
    assert not found["parses_examples"] and not [
        reason for reason in analysis.warnings(described) if "TensorFlow 1" not in reason
    ]


@pytest.mark.parametrize("name", names(graph_models.IMPURE))
def test_what_a_request_runs_refuses_the_conversion(models, name):
    _described, signature, ops = said(models / name)
    if "python" in name:  # The process that reads it has no such function, as no server has.
        with pytest.raises(tensorflow.errors.OpError):
            ran(models / name, x=X)
        assert statefulness.python_ops(ops) == ["PyFunc"]
    else:
        executed, _answers = ran(models / name, x=X)
        assert impure(ops) == impure(executed) != set()
    assert variant_refusals.refusal(OPTIONS, signature, None, None, ops)


@pytest.mark.parametrize("name", names(graph_models.OPEN))
def test_a_branch_that_nobody_can_know_is_a_warning(models, name):
    described, signature, ops = said(models / name)
    assert impure(ops) == set() and statefulness.random_ops(described["uncertain_ops"]["serving_default"]) == [
        "RandomUniform"
    ]
    assert variant_refusals.refusal(OPTIONS, signature, None, None, ops) is None
    assert any(warning.startswith("RandomUniform: in a branch that") for warning in analysis.warnings(described))


@pytest.mark.parametrize("name", unset_models.BROKEN)
def test_a_model_whose_variables_nothing_restores_is_named_before_its_first_request_fails(models, name):
    described, signature, _ops = said(models / name)
    with pytest.raises(tensorflow.errors.FailedPreconditionError) as caught:
        ran(models / name, **{next(iter(signature["inputs"])): X})
    named = re.search(
        r"Could not find variable ([\w/]+)|uninitialized value (\w+)|(Table not initialized)", str(caught.value)
    )
    assert named.group(3) or {*named.groups()} & set(signature["unset_variables"])
    warning = next(one for one in analysis.warnings(described) if "does not restore" in one)
    assert signature["unset_variables"][0] in warning and "model.export(directory)" in warning and "\n" not in warning


@pytest.mark.parametrize("name", unset_models.WHOLE)
def test_a_model_that_answers_lacks_no_variable(models, name):
    described, signature, _ops = said(models / name)
    _executed, answers = ran(models / name, **{next(iter(signature["inputs"])): X})
    assert numpy.isfinite(answers[0][0]).all()
    assert "unset_variables" not in signature and not [
        one for one in analysis.warnings(described) if "does not restore" in one
    ]


@pytest.mark.parametrize("left", [0, 0.5, 0.99])
def test_a_file_of_variables_that_is_cut_short_is_named_as_tensorflow_finds_it_broken(models, tmp_path, left):
    shutil.copytree(models / "keras_exported", tmp_path / "m")
    shard = tmp_path / "m" / "variables" / "variables.data-00000-of-00001"
    os.truncate(shard, int(shard.stat().st_size * left))
    with pytest.raises(tensorflow.errors.OpError):
        ran(tmp_path / "m", keras_tensor=X)
    with pytest.raises(FleetError, match="variables.data-00000-of-00001: it has .* bytes, but the index needs"):
        saved_model.read(str(tmp_path / "m"))


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    directory = tmp_path_factory.mktemp("failing")
    failing_models.build(str(directory))
    return directory


@pytest.mark.parametrize("name", failing_models.COMPOSITE)
def test_a_ragged_or_sparse_output_is_named_before_every_request_fails(failing, name):
    """The tensors are those that TensorFlow's own loader takes for the output."""
    described, signature, ops = said(failing / name / "1")
    found = signature["outputs"]["y"]
    with tf1.Session(graph=tensorflow.Graph()) as session:
        info = (
            tf1.saved_model.load(session, ["serve"], str(failing / name / "1"))
            .signature_def["serving_default"]
            .outputs["y"]
        )
        assert info.name == ""  # What a server looks for: "Tensor :0 … was not found in the Graph".
        value = tf1.saved_model.utils.get_tensor_from_tensor_info(info, session.graph)
        parts = (
            (value.flat_values, value.row_splits)
            if name == "ragged"
            else (value.values, value.indices, value.dense_shape)
        )
        assert set(found["components"]) == {part.name for part in parts}
    assert found["composite"] == failing_models.COMPOSITE[name] and len(ops) > 2
    assert any(
        f"output y is a {found['composite']}" in warning and ".to_tensor()" in warning
        for warning in analysis.warnings(described)
    )
    assert not analysis.analyse("s", signature, ops)["tensorflow_lite"]["likely"]
    assert not analysis.warnings(saved_model.read(str(failing / "dense_of_ragged" / "1")))


@pytest.mark.parametrize("flag, status", [((), "XLA compilation disabled"), (("--xla_cpu_compilation_enabled",), None)])
def test_a_compiled_function_fails_where_xla_is_off_as_in_tensorflow_serving(failing, serve, flag, status):
    """tensorflow_serving/model_servers/main.cc calls DisableXlaCompilation() unless a flag for XLA is set."""
    server = serve(*flag, models={name: failing / name for name in (*failing_models.XLA, "plain")}).ready()
    with GrpcClient("127.0.0.1", server.grpc_port, 30) as client:
        for name in failing_models.XLA:
            described, signature, _ops = said(failing / name / "1")
            assert signature["needs_xla"] and any(
                "xla_cpu_compilation_enabled: true" in warning for warning in analysis.warnings(described)
            )
            if status:
                with pytest.raises(ServerFault, match=status):
                    client.predict(name, {"x": X})
            else:
                assert client.predict(name, {"x": X})
        assert client.predict("plain", {"x": X}) and "needs_xla" not in said(failing / "plain" / "1")[1]


@pytest.mark.parametrize("name", failing_models.EFFECTS)
def test_a_signature_that_changes_or_reveals_things_is_named(failing, name):
    random, state, files, chosen = failing_models.EFFECTS[name]
    described, signature, ops = said(failing / name / "1")
    found = analysis.analyse("serving_default", signature, ops)
    assert (found["random_ops"], found["state_ops"], found["file_ops"]) == (random, state, files)
    warnings = analysis.warnings(described)
    assert any(f"{files[0]}: data from clients decides" in warning for warning in warnings) is chosen if files else True
    assert bool(state or files) == bool(warnings), warnings
    assert bool(variant_refusals.refusal(OPTIONS, signature, None, None, ops)) == (name != "plain")


def test_a_model_without_a_signature_is_named(failing):
    described = saved_model.read(str(failing / "no_signature" / "1"))
    assert not described["signatures"] and any(
        "no signature that clients can call" in warning for warning in analysis.warnings(described)
    )


@pytest.mark.parametrize("tags, factor", [(["serve"], 3.0), (["gpu", "serve"], 2.0), (["serve", "gpu"], 2.0)])
def test_the_graph_that_the_servers_tags_name_is_read_and_converted(failing, tmp_path, tags, factor):
    """A server takes the graph with exactly its tags, in any order (tensorflow/cc/saved_model/reader.cc)."""
    path = failing / "two_tags" / "1"
    described = saved_model.read(str(path), tags)
    signature = described["signatures"]["serving_default"]
    with tf1.Session(graph=tensorflow.Graph()) as session:
        loaded = tf1.saved_model.load(session, tags, str(path)).signature_def["serving_default"]
        assert loaded.outputs["y"].name == signature["outputs"]["y"]["tensor"]
        assert session.run(loaded.outputs["y"].name, {loaded.inputs["x"].name: X})[0, 0] == factor
    made = conversion_program.work(
        dict(
            OPTIONS,
            action="convert",
            source=str(path),
            tags=tags,
            model="m",
            size_bytes=described["size_bytes"],
            signature="serving_default",
            contract=signature,
            staged=str(tmp_path),
            samples=None,
            workspace_mib=64,
            compute_capability=None,
            asked=None,
            progress=None,
            metric_output=None,
            metric_function=None,
            metric_goal=None,
            allowed_loss=0.1,
            maximum_difference=0.0,
            select_tf_ops=False,
            batch_sizes=[],
            precision="FP16",
            memory_mib=None,
        )
    )
    assert made["accepted"], made["reason"]
    runner = tensorflow.lite.Interpreter(model_content=(tmp_path / "model.tflite").read_bytes()).get_signature_runner(
        "serving_default"
    )
    assert runner(x=X)["y"][0, 0] == factor


def test_new_weights_keep_the_structure_and_another_layer_or_signature_changes_it(tmp_path):
    def export(name, weights, activation=tensorflow.nn.relu, output="y"):
        model = tensorflow.Module()
        model.weights = tensorflow.Variable(numpy.full((4, weights), len(name), "float32"))
        model.call = tensorflow.function(
            lambda x: {output: activation(x @ model.weights)},
            input_signature=[tensorflow.TensorSpec([None, 4], tensorflow.float32, "x")],
        )
        tensorflow.saved_model.save(model, tmp_path / name, signatures=model.call)
        return saved_model.read(str(tmp_path / name))["structure"]

    first, again = export("one", 3), export("another", 3)
    assert first == again
    wider, other, renamed = export("w", 5), export("o", 3, tensorflow.nn.tanh), export("r", 3, output="z")
    assert wider["graph"] != first["graph"] and wider["signatures"] != first["signatures"]
    assert other["graph"] != first["graph"] and other["signatures"] == first["signatures"]
    assert renamed["signatures"] != first["signatures"]


def test_tags_that_no_graph_has_are_named_with_the_flag(failing):
    with pytest.raises(
        FleetError, match=r"no graph has the tags 'serve,tpu' \(available: gpu, serve; serve\)\. .*saved_model_tags: "
    ):
        saved_model.read(str(failing / "two_tags" / "1"), ["serve", "tpu"])


@pytest.mark.parametrize("name", ["module_with_variables", "variable_set_by_the_initializer"])
def test_variables_of_another_model_do_not_pass_for_the_models_own(models, tmp_path, name):
    """TensorFlow's loader is the judge: it finds no such key in the checkpoint."""
    shutil.copytree(models / name, tmp_path / "m")
    assert saved_model.read(str(tmp_path / "m"))
    shutil.rmtree(tmp_path / "m" / "variables")
    shutil.copytree(models / "partitioned" / "variables", tmp_path / "m" / "variables")
    with tf1.Session(graph=tensorflow.Graph()) as session, pytest.raises(tensorflow.errors.NotFoundError):
        tf1.saved_model.load(session, ["serve"], str(tmp_path / "m"))
    with pytest.raises(FleetError, match="which the graph restores: the variables belong to another model"):
        saved_model.read(str(tmp_path / "m"))
