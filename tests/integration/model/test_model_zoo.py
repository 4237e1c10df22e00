# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every model of the zoo is converted, or refused with a reason, as was written down for it; none answers differently after it was accepted.

What TensorFlow's own loader says about the same files is the other source for what our reader says; what TensorFlow Lite answers, tensor by tensor
under the names of the metadata (as TensorFlow Serving asks it), is the other source for what our conversion claims.
"""

from __future__ import annotations

import os
import shutil

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
numpy = pytest.importorskip("numpy")

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    analysis,
    conversion_program,
    samples,
    saved_model,
    server_check,
    tensorflow_ops,
    tensorrt,
    tflite_file,
    variant_refusals,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import signature as signatures
from ansible_collections.tfserving.fleet.tests.integration.model import model_zoo, odd_models

METRICS = {
    "attention": "accuracy",
    "convolution": "accuracy",
    "decision_tree": "accuracy",
    "dense": "accuracy",
    "features": "accuracy",
    "hostile": "accuracy",
    "no_fingerprint": "accuracy",
    "two_in_two_out": "rmse",
}
EXPECTED = {**model_zoo.EXPECTED, **odd_models.EXPECTED}
CONVERTED = sorted(name for name, (outcome, _words) in EXPECTED.items() if outcome == "accepted")
READABLE = sorted(
    name for name, (outcome, _words) in model_zoo.EXPECTED.items() if outcome != "fault" or name == "gigabyte"
)


@pytest.fixture(scope="session")
def results(zoo, tmp_path_factory):
    """name -> what became of it, and the bytes of the file where it was accepted; each model is converted once."""
    found = {}
    for name in EXPECTED:
        try:
            found[name] = outcome(zoo, name, tmp_path_factory.mktemp(name))
        except FleetError as fault:
            found[name] = ("fault", str(fault), None)
    return found


@pytest.fixture(scope="session")
def forms_made(zoo, tmp_path_factory):
    """(name, form, select) -> what became of it, as results."""
    return {key: outcome(zoo, key[0], tmp_path_factory.mktemp(key[0]), *key[1:]) for key in model_zoo.EXPECTED_FORMS}


def outcome(zoo, name, staged, form="tflite_dynamic_range", select=False):
    """(accepted|refused, reason, what convert returned and the file's bytes) of a model in a form, decided as the module does."""
    described = saved_model.read(str(zoo / name))
    contract = signatures.chosen(described["signatures"], "serving_default")
    metric, files = (
        METRICS.get(name),
        [str(path) for path in (zoo / f"{name}.npz", zoo / f"{name}.tfrecord") if path.exists()],
    )
    options = {
        "form": form,
        "metric": metric,
        "metric_output": "difference" if name == "two_in_two_out" else None,
        "metric_function": None,
        "metric_goal": None,
        "allowed_loss": 0.1,
        "maximum_difference": None,
        "accept_unjudged": metric is None,
        "select_tf_ops": select,
        "batch_sizes": [],
        "precision": "FP16",
        "memory_mib": 4096 if name == "gigabyte" else None,
    }
    samples_file = files[0] if files else None
    refusal = variant_refusals.refusal(
        options,
        contract,
        samples_file,
        None,
        described["ops"]["serving_default"],
        described["optional_inputs"].get("serving_default", ()),
    )
    if refusal:
        return "refused", refusal, None
    made = conversion_program.work(
        dict(
            options,
            action="convert",
            source=str(zoo / name),
            model=name,
            size_bytes=described["size_bytes"],
            signature="serving_default",
            contract=contract,
            staged=str(staged),
            samples=samples_file,
            workspace_mib=64,
            compute_capability=None,
            asked=None,
            progress=None,
        )
    )
    if not made["accepted"]:
        assert not os.listdir(staged), "a refused model left a file"
        return "refused", made["reason"], made
    with open(staged / "model.tflite", "rb") as stream:
        return "accepted", made["reason"], dict(made, content=stream.read())


@pytest.mark.parametrize("name", EXPECTED)
def test_each_model_ends_as_was_written_down(results, name):
    expected, words = EXPECTED[name]
    found, reason, _made = results[name]
    assert found == expected, reason
    words = {"unjudged": "without judging"}.get(words, words)
    assert words in reason
    assert "\n" not in reason and "Traceback" not in reason and len(reason) < 500


@pytest.mark.parametrize("name, form, select", model_zoo.EXPECTED_FORMS)
def test_each_form_ends_as_was_written_down(forms_made, name, form, select):
    expected, words = model_zoo.EXPECTED_FORMS[name, form, select]
    found, reason, _made = forms_made[name, form, select]
    assert found == expected and {"unjudged": "without judging"}.get(words, words) in reason, reason
    assert "\n" not in reason and "Traceback" not in reason


@pytest.mark.parametrize("name", READABLE)
def test_our_reader_says_what_tensorflow_says(tensorflow, zoo, name):
    """TensorFlow parses the same bytes with its own generated classes."""
    from tensorflow.core.protobuf import saved_model_pb2

    parsed = saved_model_pb2.SavedModel.FromString((zoo / name / "saved_model.pb").read_bytes())
    graph = parsed.meta_graphs[0]
    described = saved_model.read(str(zoo / name))
    assert described["tensorflow_version"] == graph.meta_info_def.tensorflow_version == tensorflow.__version__
    assert described["tags"] == list(graph.meta_info_def.tags)
    exporters = {
        "tensorflow1": "tensorflow1",
        "convolution": "keras3",
        "recurrent": "keras3",
        "recurrent_loop": "keras3",
    }
    assert described["exporter"] == exporters.get(name, "tensorflow2")
    assert described["graph_version"] == graph.graph_def.versions.producer
    nodes = [node for node in graph.graph_def.node if node.op in ("VarHandleOp", "VariableV2")]
    assert described["variables"]["count"] == len(nodes)
    assert described["variables"]["parameters"] == sum(
        numpy.prod([dim.size for dim in node.attr["shape"].shape.dim]) for node in nodes
    )
    assert set(described["variables"]["dtypes"]) == {
        tensorflow.as_dtype(node.attr["dtype"].type).base_dtype.name for node in nodes
    }
    expected = {key: value for key, value in graph.signature_def.items() if not key.startswith("__saved_model")}
    assert set(described["signatures"]) == set(expected)
    for key, definition in expected.items():
        for side in ("inputs", "outputs"):
            infos = getattr(definition, side)
            ours = described["signatures"][key][side]
            limits = {tensor: info.pop("values_below") for tensor, info in ours.items() if "values_below" in info}
            assert limits == ({"ids": 50} if name == "embedding" and side == "inputs" else {})
            assert ours == {
                tensor: {
                    "dtype": tensorflow.as_dtype(info.dtype).name,
                    "tensor": info.name,
                    "shape": None
                    if info.tensor_shape.unknown_rank
                    else [None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim],
                }
                for tensor, info in infos.items()
            }


@pytest.mark.parametrize("name", READABLE)
def test_operations_named_are_in_the_graph(zoo, name):
    from tensorflow.core.protobuf import saved_model_pb2

    graph = saved_model_pb2.SavedModel.FromString((zoo / name / "saved_model.pb").read_bytes()).meta_graphs[0].graph_def
    everywhere = {node.op for node in graph.node} | {
        node.op for function in graph.library.function for node in function.node_def
    }
    for ops in saved_model.read(str(zoo / name))["ops"].values():
        assert set(ops) <= everywhere and "SaveV2" not in ops and "RestoreV2" not in ops


@pytest.mark.parametrize("name", READABLE)
def test_the_guess_about_tensorflow_lite_agrees_with_the_converter(zoo, results, name):
    described = saved_model.read(str(zoo / name))
    guess = analysis.analyse(
        "serving_default", described["signatures"]["serving_default"], described["ops"]["serving_default"]
    )
    found, reason, _made = results[name]
    assert guess["tensorflow_lite"]["likely"] == (
        found == "accepted" or any(words in reason for words in ("above the allowed", "TensorList", "MiB"))
    )
    assert guess["string_inputs"] == {
        "strings": ["text"],
        "example_parsing": ["examples"],
        "features": ["examples"],
        "vocabulary": ["word"],
    }.get(name, [])
    assert guess["parses_examples"] == (name in ("example_parsing", "features"))
    assert bool(guess["tables"]) == (name == "vocabulary")
    assert guess["malformed_request"]["can_kill"] == (name in ("convolution", "depthwise")) and not guess["custom_ops"]
    assert guess["batching"]["shared"] == (name not in ("no_batch", "scalar_input", "fixed_batch"))


def test_the_names_of_tensorflows_operations_are_its_own():
    from tensorflow.python.framework import op_def_registry

    known = {name for name in tensorflow_ops.NAMES if op_def_registry.get(name) is not None}
    assert known == tensorflow_ops.NAMES


@pytest.mark.parametrize("name", CONVERTED)
def test_an_accepted_model_answers_like_its_source_under_the_names_of_the_metadata(tensorflow, zoo, results, name):
    from tensorflow.core.protobuf import meta_graph_pb2

    content = results[name][2]["content"]
    written = tflite_file.signatures_of(content)
    assert list(written) == ["serving_default"] and 0 not in written["serving_default"]
    definition = meta_graph_pb2.SignatureDef.FromString(written["serving_default"])
    contract = saved_model.read(str(zoo / name))["signatures"]["serving_default"]
    assert set(definition.inputs) == set(contract["inputs"]) and set(definition.outputs) == set(contract["outputs"])
    for side in ("inputs", "outputs"):
        for key, info in getattr(definition, side).items():
            assert tensorflow.as_dtype(info.dtype).name == contract[side][key]["dtype"]
            assert [None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim] == (
                contract[side][key]["shape"] or []
            )

    interpreter = tensorflow.lite.Interpreter(model_content=content)
    tensors = {
        detail["name"]: detail["index"] for detail in interpreter.get_input_details() + interpreter.get_output_details()
    }
    source = tensorflow.saved_model.load(str(zoo / name), tags=["serve"]).signatures["serving_default"]
    rows = 4 if name == "fixed_batch" else 3
    inputs = {
        key: array if contract["inputs"][key]["shape"] not in ([], [64]) else array[0]
        for key, array in samples.synthetic(contract["inputs"], rows).items()
    }
    if name == "fixed_batch":
        inputs = {"x": inputs["x"].reshape(-1, 64)[:4]}
    for key, array in inputs.items():
        interpreter.resize_tensor_input(tensors[definition.inputs[key].name], array.shape)
    interpreter.allocate_tensors()
    for key, array in inputs.items():
        interpreter.set_tensor(tensors[definition.inputs[key].name], numpy.asarray(array))
    interpreter.invoke()
    for key, reference in source(**{key: tensorflow.constant(array) for key, array in inputs.items()}).items():
        answer = interpreter.get_tensor(tensors[definition.outputs[key].name])
        assert answer.shape == reference.shape
        numpy.testing.assert_allclose(
            answer, reference.numpy(), atol=0.05 * max(1.0, float(numpy.abs(reference.numpy()).max()))
        )


def test_the_recorded_difference_is_numpys(tensorflow, zoo, results):
    content = results["dense"][2]["content"]
    archive = numpy.load(zoo / "dense.npz")
    runner = tensorflow.lite.Interpreter(model_content=content).get_signature_runner("serving_default")
    source = tensorflow.saved_model.load(str(zoo / "dense")).signatures["serving_default"]
    reference, answer = (
        source(x=tensorflow.constant(archive["inputs.x"]))["scores"].numpy(),
        runner(x=archive["inputs.x"])["scores"],
    )
    recorded = results["dense"][2]["gates"]["outputs"]["scores"]
    assert recorded["max_abs"] == pytest.approx(numpy.abs(answer - reference).max(), rel=0.05)
    assert results["dense"][2]["gates"]["examples"] == 200


def test_weights_stay_aligned(results):
    """The schema asks for 16 bytes; kernels that load vectors rely on it."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAs(results["convolution"][2]["content"], 0)
    starts = [
        buffer._tab.Vector(buffer._tab.Offset(4))
        for buffer in map(model.Buffers, range(model.BuffersLength()))
        if buffer.DataLength()
    ]
    assert starts and all(start % 16 == 0 for start in starts)


def test_two_outputs_and_both_differences_are_recorded(results):
    recorded = results["two_in_two_out"][2]["gates"]
    assert set(recorded["outputs"]) == {"sum", "difference"}
    assert recorded["metric"]["before"] == pytest.approx(0, abs=1e-4) and 0 < recorded["metric"]["after"] < 0.1


def test_what_tensorrt_is_asked_for_is_what_its_converter_takes(zoo, tmp_path):
    """TensorFlow's own API takes the arguments; without a GPU the conversion ends with a reason, and with nothing left behind."""
    import inspect

    from tensorflow.python.compiler.tensorrt import trt_convert

    taken = inspect.signature(trt_convert.TrtGraphConverterV2.__init__).parameters
    asked = tensorrt.arguments("INT8", [1, 8], 1024, "serving_default")
    assert set(asked) | {"input_saved_model_dir"} <= set(taken)
    assert asked["precision_mode"] in tensorrt.PRECISIONS and set(tensorrt.PRECISIONS) <= set(
        trt_convert.TrtPrecisionMode.supported_precision_modes()
    )
    for method, words in (
        ("convert", {"calibration_input_fn"}),
        ("build", {"input_fn"}),
        ("save", {"output_saved_model_dir", "save_gpu_specific_engines"}),
    ):
        assert words <= set(inspect.signature(getattr(trt_convert.TrtGraphConverterV2, method)).parameters)
    contract = saved_model.read(str(zoo / "dense"))["signatures"]["serving_default"]
    made = conversion_program.work(
        {
            "action": "convert",
            "form": "tensorrt",
            "source": str(zoo / "dense"),
            "model": "dense",
            "size_bytes": 1,
            "signature": "serving_default",
            "contract": contract,
            "staged": str(tmp_path),
            "samples": str(zoo / "dense.npz"),
            "metric": "accuracy",
            "metric_output": None,
            "metric_function": None,
            "metric_goal": None,
            "allowed_loss": 0.1,
            "maximum_difference": None,
            "accept_unjudged": False,
            "select_tf_ops": False,
            "batch_sizes": [1, 8],
            "precision": "FP16",
            "memory_mib": None,
            "workspace_mib": 64,
            "compute_capability": "8.6",
            "asked": None,
            "progress": None,
        }
    )
    assert (
        not made["accepted"]
        and "this converter has no GPU that TensorFlow can use" in made["reason"]
        and not list(tmp_path.iterdir())
    )


def test_warm_up_requests_of_other_methods_stay_with_the_source(zoo, tmp_path):
    """A Classify record needs a signature that a TensorFlow Lite form does not have: a server would not load the version."""
    from ansible_collections.tfserving.fleet.plugins.module_utils._model import warmup
    from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import client, protobuf, tfrecord

    shutil.copytree(zoo / "dense", tmp_path / "warmed")
    predict = warmup.file([client.predict_request("m", {"x": numpy.ones((rows, 64), "float32")}) for rows in (5, 2)])
    classify = tfrecord.frame(protobuf.held(2, protobuf.held(1, b"")))
    (tmp_path / "warmed" / "assets.extra").mkdir()
    (tmp_path / "warmed" / "assets.extra" / "tf_serving_warmup_requests").write_bytes(predict + classify)
    (tmp_path / "staged").mkdir()
    found, reason, made = outcome(tmp_path, "warmed", tmp_path / "staged", "tflite_float16")
    assert found == "accepted" and made["warmup_batch_sizes"] == [2, 5], reason
    written = (tmp_path / "staged" / "assets.extra" / "tf_serving_warmup_requests").read_bytes()
    assert warmup.look(
        written, {"serving_default": saved_model.read(str(zoo / "dense"))["signatures"]["serving_default"]}
    )["kinds"] == {"predict": 2}


def test_tensorflow_and_we_write_the_same_records(tensorflow, tmp_path):
    from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import tfrecord

    with tensorflow.io.TFRecordWriter(str(tmp_path / "theirs")) as stream:
        for record in (b"hello", b"", b"x" * 100000):
            stream.write(record)
    assert (tmp_path / "theirs").read_bytes() == b"".join(map(tfrecord.frame, (b"hello", b"", b"x" * 100000)))


@pytest.fixture(scope="session")
def served(zoo, results, forms_made, serve, tmp_path_factory):
    """The embedded server with every accepted model as TensorFlow Lite, and some as they are."""
    directory = tmp_path_factory.mktemp("served")
    for name in CONVERTED:
        (directory / name / "1").mkdir(parents=True)
        (directory / name / "1" / "model.tflite").write_bytes(results[name][2]["content"])
    for name in AS_THEY_ARE:
        (directory / name).mkdir()
        (directory / name / "1").symlink_to(zoo / name)
    for key, served_name in SERVED_FORMS.items():
        (directory / served_name / "1").mkdir(parents=True)
        (directory / served_name / "1" / "model.tflite").write_bytes(forms_made[key][2]["content"])
    return serve(
        "--prefer_tflite_model=true",
        models={name: directory / name for name in [*CONVERTED, *AS_THEY_ARE, *SERVED_FORMS.values()]},
    ).ready()


AS_THEY_ARE = ["float64", "strings", "vocabulary", "hostile"]
SERVED_FORMS = {
    key: "-".join(key[:2]) for key, (outcome, _words) in model_zoo.EXPECTED_FORMS.items() if outcome == "accepted"
}


@pytest.mark.parametrize("name", CONVERTED + AS_THEY_ARE)
def test_the_served_model_answers_like_its_source(tensorflow, zoo, results, served, tmp_path, name):
    """Through a server over gRPC, one example and many; the source is asked in this process."""
    described = saved_model.read(str(zoo / name))
    contract = described["signatures"]["serving_default"]
    archive = zoo / f"{name}.npz"
    if not archive.exists():
        archive = tmp_path / "samples.npz"
        made = samples.synthetic(contract["inputs"], 8)
        numpy.savez(
            archive,
            **{f"inputs.{key}": array.astype("S") if array.dtype == object else array for key, array in made.items()},
        )
    inputs, labels = samples.read(str(archive))
    feeding = signatures.feeding(contract["inputs"], {key: array.shape for key, array in inputs.items()})
    source = tensorflow.saved_model.load(str(zoo / name), tags=["serve"]).signatures["serving_default"]
    _count, reference = samples.answers(
        lambda rows: {
            key: value.numpy()
            for key, value in source(**{key: tensorflow.constant(array) for key, array in rows.items()}).items()
        },
        samples.fit(inputs, contract["inputs"]),
        feeding,
        7,
    )
    numpy.savez(tmp_path / "reference.npz", **{f"outputs.{key}": array for key, array in reference.items()})
    found = server_check.check(
        {
            "target": target(served, name),
            "samples": str(archive),
            "limit": None,
            "batch": 7,
            "metric": METRICS.get(name),
            "metric_output": "difference" if name == "two_in_two_out" else None,
            "metric_function": None,
            "reference": str(tmp_path / "reference.npz"),
            "reference_target": None,
            "deadline_s": 60,
        }
    )
    assert set(found["outputs"]) == set(contract["outputs"])
    recorded = (
        results[name][2]["gates"]["outputs"]
        if name in CONVERTED
        else {key: {"max_abs": 0} for key in contract["outputs"]}
    )
    for key, output in found["outputs"].items():
        assert output["difference"] is None
        assert output["max_abs"] <= recorded[key]["max_abs"] * 1.5 + 1e-4
    if name in METRICS:
        judged = (results[name][2] or {"gates": {}})["gates"]["metric"]
        assert found["metric"]["value"] == pytest.approx(
            judged["after"] if name in CONVERTED else judged["before"], abs=0.02
        )


@pytest.mark.parametrize("name, form, select", SERVED_FORMS)
def test_each_served_form_answers_like_its_source(tensorflow, zoo, forms_made, served, tmp_path, name, form, select):
    """Through a server over gRPC: no further from the source than was recorded at the conversion, and as good by the metric."""
    contract = saved_model.read(str(zoo / name))["signatures"]["serving_default"]
    recorded = forms_made[name, form, select][2]["gates"]
    given = next((zoo / f"{name}{end}" for end in (".npz", ".tfrecord") if (zoo / f"{name}{end}").exists()), None)
    inputs, labels = (
        samples.read(str(given), tensors=contract["inputs"])
        if given
        else (samples.synthetic(contract["inputs"], 8), None)
    )
    source = tensorflow.saved_model.load(str(zoo / name), tags=["serve"]).signatures["serving_default"]
    feeding = signatures.feeding(contract["inputs"], {key: array.shape for key, array in inputs.items()})
    _count, reference = samples.answers(
        lambda rows: {
            key: value.numpy()
            for key, value in source(**{key: tensorflow.constant(array) for key, array in rows.items()}).items()
        },
        samples.fit(inputs, contract["inputs"]),
        feeding,
        32,
    )
    samples.write(str(tmp_path / "asked.npz"), inputs, labels, reference)
    found = server_check.check(
        {
            "target": target(served, SERVED_FORMS[name, form, select]),
            "samples": str(tmp_path / "asked.npz"),
            "limit": None,
            "batch": 32,
            "metric": METRICS.get(name),
            "metric_output": "difference" if name == "two_in_two_out" else None,
            "metric_function": None,
            "reference": str(tmp_path / "asked.npz"),
            "reference_target": None,
            "deadline_s": 60,
        }
    )
    for key, output in found["outputs"].items():
        assert output["difference"] is None and output["max_abs"] <= recorded["outputs"][key]["max_abs"] * 1.5 + 1e-4
    if name in METRICS:
        assert found["metric"]["value"] == pytest.approx(recorded["metric"]["after"], abs=0.02)


def target(served, name, protocol="grpc", signature="serving_default"):
    port = served.grpc_port if protocol == "grpc" else served.rest_port
    return {
        "name": name,
        "protocol": protocol,
        "address": "127.0.0.1",
        "port": port,
        "model": name,
        "signature": signature,
        "version": None,
    }


@pytest.mark.parametrize("name", ["convolution", "two_in_two_out", "scalar_input"])
def test_both_protocols_agree(zoo, served, name):
    found = server_check.check(
        {
            "target": target(served, name, "rest"),
            "samples": str(zoo / f"{name}.npz"),
            "limit": 5,
            "batch": 2,
            "metric": None,
            "metric_output": None,
            "metric_function": None,
            "reference": None,
            "reference_target": target(served, name),
            "deadline_s": 60,
        }
    )
    assert found["examples"] == 5 and found["metric"] is None
    assert all(output["difference"] is None and output["max_abs"] < 1e-5 for output in found["outputs"].values())


@pytest.mark.parametrize(
    "change, words",
    [
        ({"metric": "accuracy", "samples": "no_batch.npz"}, "it has no labels"),
        ({"target": {"signature": "serving_defualt"}}, "did you mean serving_default"),
        ({"target": {"port": 1}}, "UNAVAILABLE"),
        ({"target": {"model": "absent"}}, "NOT_FOUND"),
        ({"samples": "dense.npz"}, "the samples do not fit the signature's inputs"),
        ({"reference": "dense.npz"}, "has no arrays outputs.<name>"),
    ],
)
def test_checks_that_cannot_be_made_are_one_clear_line(zoo, served, change, words):
    asked = dict(target(served, "convolution"), **change.get("target", {}))
    with pytest.raises(FleetError) as caught:
        server_check.check(
            {
                "target": asked,
                "samples": str(zoo / change.get("samples", "convolution.npz")),
                "limit": None,
                "batch": 7,
                "metric": change.get("metric"),
                "metric_output": None,
                "metric_function": None,
                "reference": str(zoo / change["reference"]) if "reference" in change else None,
                "reference_target": None,
                "deadline_s": 5,
            }
        )
    assert words in str(caught.value) and "\n" not in str(caught.value)
