# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SavedModels made of bytes by hand, after the field numbers of TensorFlow's .proto files."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    digests,
    manifest,
    meta_graph,
    published,
    saved_model,
    versions,
)


def number(field, value):
    return bytes([field << 3]) + varint(value)


def varint(value):
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])


def held(field, *parts):
    content = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return bytes([field << 3 | 2]) + varint(len(content)) + content


def shape(*sizes):
    return held(3, *[held(2, number(1, size)) if size else held(2) for size in sizes])


def node(name, op, *inputs, **functions):
    attributes = [held(5, held(1, key), held(2, held(10, held(1, function)))) for key, function in functions.items()]
    return held(1, held(1, name), held(2, op), *[held(3, one) for one in inputs], *attributes)


def function(name, *nodes, returns="c:0:0"):
    body = [bytes([3 << 3 | 2]) + one[1:] for one in nodes]
    return held(1, held(1, held(1, name), held(3, held(1, "out"))), *body, held(4, held(1, "out"), held(2, returns)))


def signature(key, inputs, outputs, method="tensorflow/serving/predict"):
    return held(
        5,
        held(1, key),
        held(
            2,
            *[held(1, held(1, name), held(2, info)) for name, info in inputs.items()],
            *[held(2, held(1, name), held(2, info)) for name, info in outputs.items()],
            held(3, method),
        ),
    )


def model(*parts, tags=("serve",), version="2.21.0"):
    info = held(1, *[held(4, tag) for tag in tags], held(5, version))
    return number(1, 1) + held(2, info, *parts)


INFO = held(1, "in:0") + number(2, 1) + shape(-1, 3)
SIMPLE = [
    held(
        2,
        node("in", "Placeholder"),
        node("call", "StatefulPartitionedCall", "in", f="outer"),
        node("save", "SaveV2", "in"),
        held(
            2,
            function(
                "outer",
                node("a", "MatMul"),
                node("b", "PartitionedCall", "a:product:0", f="inner"),
                returns="b:output:0",
            ),
            function("inner", node("c", "Relu")),
            function("unused", node("d", "RegexReplace"), returns="d:output:0"),
        ),
    ),
    signature("serving_default", {"x": INFO}, {"y": held(1, "call:0") + number(2, 9) + shape()}),
]


def test_signature_and_operations_behind_it():
    described = meta_graph.parse(model(*SIMPLE), "here")
    assert described["signatures"] == {
        "serving_default": {
            "method_name": "tensorflow/serving/predict",
            "inputs": {"x": {"dtype": "float32", "tensor": "in:0", "shape": [None, 3]}},
            "outputs": {"y": {"dtype": "int64", "tensor": "call:0", "shape": []}},
        }
    }
    assert described["ops"] == {"serving_default": ["MatMul", "PartitionedCall", "Relu", "StatefulPartitionedCall"]}
    assert (described["tensorflow_version"], described["tags"], described["exporter"]) == (
        "2.21.0",
        ["serve"],
        "tensorflow1",
    )
    assert described["variables"] == {"count": 0, "parameters": 0, "dtypes": {}}


@pytest.mark.parametrize(
    "info, dtype, sizes",
    [
        (number(2, 1) + held(3, number(3, 1)), "float32", None),  # unknown rank
        (number(2, 7), "string", []),  # no shape at all is a scalar
        (number(2, 19) + shape(0, 2), "float16", [0, 2]),
        (number(2, 101) + shape(2), "float32", [2]),  # a reference type of TensorFlow 1
        (number(2, 99) + shape(2), "99", [2]),
    ],
)
def test_tensors(info, dtype, sizes):
    tensor = meta_graph.parse(model(signature("s", {"x": info}, {})), "here")["signatures"]["s"]["inputs"]["x"]
    assert (tensor["dtype"], tensor["shape"]) == (dtype, sizes)


def test_the_graph_tagged_for_serving_is_taken_and_internal_signatures_are_not_shown():
    content = (
        model(signature("train", {}, {}), tags=("train",))
        + model(signature("a", {}, {}), signature("__saved_model_init_op", {}, {}))[2:]
    )
    assert set(meta_graph.parse(content, "here")["signatures"]) == {"a"}


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "it contains no graph: it is truncated after 0 bytes"),
        (number(1, 1), "it contains no graph: it is truncated after 2 bytes"),  # cut between its two fields
        (model(tags=("train",)), "no graph has the tags 'serve' (available: train)"),
        (model(tags=("gpu", "serve")), "available: gpu, serve"),
        (model(*SIMPLE)[:-3], "not a SavedModel: cut short"),
        (b"<html>not found</html>", "not a SavedModel"),
        (number(2, 5), "not a SavedModel"),
        (held(2, number(1, 7)), "not a SavedModel"),
    ],
)
def test_what_is_no_saved_model_is_one_clear_line(content, words):
    with pytest.raises(FleetError) as caught:
        meta_graph.parse(content, "here")
    assert words in str(caught.value) and "\n" not in str(caught.value) and str(caught.value).startswith("here: ")


@pytest.mark.parametrize(
    "tags, named", [((), None), (("",), None), (("gpu", "serve"), "gpu,serve"), (("train",), "train")]
)
def test_a_graph_that_the_server_can_reach_by_tags_has_a_remedy_that_names_them(tags, named):
    """tensorflow_serving/model_servers/server.cc splits --saved_model_tags at commas, so that no value names a graph without tags."""
    with pytest.raises(FleetError, match="no graph has the tags 'x'") as caught:
        meta_graph.parse(model(*SIMPLE, tags=tags), "here", ["x"])
    assert ("saved_model_tags" in caught.value.remedy) is bool(named) and (named or "Export") in caught.value.remedy


def test_any_cut_ends_in_a_fleet_error_or_a_description():
    content = model(*SIMPLE)
    for length in range(len(content)):
        with pytest.raises(FleetError):
            meta_graph.parse(content[:length], "here")


def write(directory, files):
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return str(directory)


def block(*entries):
    """A block of tensorflow/core/lib/io/table_format.txt: entries that share no letters, one restart, no compression, and a checksum."""
    content = b"".join(varint(0) + varint(len(key)) + varint(len(value)) + key + value for key, value in entries)
    return content + bytes(4) + (1).to_bytes(4, "little") + b"\0" + bytes(4)


def index(shards, *tensors):
    """A variables.index. tensors: (name, shard, offset, size)."""
    held_tensors = [
        (name.encode(), number(1, 1) + number(3, shard) + number(4, offset) + number(5, size))
        for name, shard, offset, size in tensors
    ]
    data = block((b"", number(1, shards)), *held_tensors)
    blocks = block((b"z", varint(0) + varint(len(data) - 5)))
    footer = varint(0) + varint(0) + varint(len(data)) + varint(len(blocks) - 5)
    return data + blocks + footer.ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"  # github.com/git-lfs/git-lfs, docs/spec.md
ONE, INDEX = "variables/variables.data-00000-of-00001", "variables/variables.index"
VARIABLES = model(held(2, node("v", "VarHandleOp")), *SIMPLE[1:])


def test_files_are_counted(tmp_path):
    asset = held(6, held(2, "words.txt"))
    directory = write(
        tmp_path,
        {
            "saved_model.pb": model(*SIMPLE, asset),
            "assets/words.txt": b"abc",
            "manifest.json": b"{}",
            "assets.extra/tf_serving_warmup_requests": b"w",
        },
    )
    described = saved_model.read(directory)
    assert described["size_bytes"] == len(model(*SIMPLE, asset)) + 4
    assert (
        described["assets"],
        described["asset_bytes"],
        described["warmup"]["records"],
        described["variables"]["bytes"],
    ) == (["words.txt"], 3, 0, 0)
    assert "not a TFRecord file" in described["warmup"]["faults"][0]


@pytest.mark.parametrize("lost", [ONE, INDEX])
def test_a_link_to_a_file_that_was_not_fetched_is_named(lost, tmp_path):
    """What git-annex (internals: .git/annex/objects) and DVC (cache.type symlink) leave where the content was not fetched."""
    files = {"saved_model.pb": VARIABLES, ONE: b"abcd", INDEX: index(1, ("v", 0, 0, 4))}
    directory = write(tmp_path, {name: content for name, content in files.items() if name != lost})
    (tmp_path / lost).symlink_to("../../.git/annex/objects/zK/Q1/SHA256E-s4--88d4266f")
    with pytest.raises(FleetError, match="is a link to a file that does not exist") as caught:
        saved_model.read(directory)
    assert lost.rpartition("/")[2] in caught.value.what and "git annex get" in caught.value.remedy


@pytest.mark.parametrize(
    "files, words",
    [
        ({}, "it contains no saved_model.pb. Set the directory of one version"),
        ({"1/saved_model.pb": b"", "10/saved_model.pb": b"", "9/saved_model.pb": b""}, "/10."),
        ({"saved_model.pbtxt": b""}, "saved_model.pbtxt is not supported"),
        ({"saved_model.pb": VARIABLES}, "files of its variables are missing; present: none"),
        (
            {"saved_model.pb": VARIABLES, "variables/variables.index": b""},
            "variables are missing; present: variables.index",
        ),
        ({"saved_model.pb": VARIABLES, "variables/variables.data-00000-of-00001": b""}, "variables are missing"),
        (
            {
                "saved_model.pb": VARIABLES,
                "variables/variables.index": b"",
                "variables/variables.data-00000-of-00002": b"",
            },
            "variables are missing",
        ),
        ({"saved_model.pb": model(*SIMPLE, held(6, held(2, "words.txt")))}, "the asset 'words.txt' is missing"),
        ({"saved_model.pb": b""}, "saved_model.pb: it is empty"),
        ({"saved_model.pb": POINTER}, "saved_model.pb: it is a Git LFS pointer"),
        (
            {"saved_model.pb": model(*SIMPLE, held(6, held(2, "words.txt"))), "assets/words.txt": POINTER},
            "words.txt: it is a Git LFS pointer",
        ),
        (
            {"saved_model.pb": VARIABLES, INDEX: index(1, ("v", 0, 0, 8)), ONE: POINTER},
            "of-00001: it is a Git LFS pointer",
        ),
        (
            {"saved_model.pb": VARIABLES, INDEX: POINTER, ONE: b"12345678"},
            "variables.index: it is a Git LFS pointer",
        ),
        (
            {"saved_model.pb": VARIABLES, INDEX: index(1, ("a", 0, 8, 8), ("b", 0, 0, 8)), ONE: bytes(15)},
            "it has 15 bytes, but the index needs 16 (the tensor 'a' is at its",
        ),
        (
            {"saved_model.pb": VARIABLES, INDEX: index(1, ("v", 0, 0, 8)), ONE: b""},
            "it has 0 bytes, but the index needs 8",
        ),
        (
            {"saved_model.pb": VARIABLES, INDEX: index(2, ("v", 1, 0, 8)), ONE: bytes(8)},
            "variables.data-00000-of-00002 is missing",
        ),
        ({"saved_model.pb": VARIABLES, INDEX: b"", ONE: bytes(8)}, "variables.index: it is empty"),
        (
            {"saved_model.pb": VARIABLES, INDEX: index(1, ("v", 0, 0, 8))[:-9], ONE: bytes(8)},
            "variables.index: it is damaged",
        ),
    ],
)
def test_missing_files_are_one_clear_line(tmp_path, files, words):
    with pytest.raises(FleetError) as caught:
        saved_model.read(write(tmp_path, files))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_variables_in_several_files(tmp_path):
    table = index(2, ("a", 0, 0, 2), ("b", 1, 0, 3))
    directory = write(
        tmp_path,
        {
            "saved_model.pb": VARIABLES,
            INDEX: table,
            "variables/variables.data-00000-of-00002": b"aa",
            "variables/variables.data-00001-of-00002": b"bbb",
        },
    )
    assert saved_model.read(directory)["variables"]["bytes"] == 5 + len(table)


def test_the_digest_follows_names_and_contents_and_nothing_else(tmp_path):
    first = write(tmp_path / "a", {"x": b"1", "d/y": b"2"})
    second = write(tmp_path / "b", {"d/y": b"2", "x": b"1", "manifest.json": b"other"})
    expected = hashlib.sha256(
        b"".join(
            f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode()
            for name, content in (("d/y", b"2"), ("x", b"1"))
        )
    ).hexdigest()

    def digest(directory):
        return manifest.digest(published.inventory(directory, digests.Digests()))

    assert digest(first) == digest(second) == expected
    os.rename(os.path.join(first, "x"), os.path.join(first, "z"))
    assert digest(first) != expected


def packed(kind, *names):
    content = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(content, "w") as archive:
            for name in names:
                archive.writestr(name, b"content")
    else:
        with tarfile.open(fileobj=content, mode=kind) as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(name))
    return content.getvalue()


FROZEN = node("x", "Placeholder") + node("y", "Relu", "x")
HDF5 = b"\x89HDF\r\n\x1a\n"  # docs.hdfgroup.org, "HDF5 File Format Specification", superblock
LITE = b"\x1c\0\0\0TFL3"  # tensorflow/compiler/mlir/lite/schema/schema.fbs, file_identifier


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("m.tar.gz", packed("w:gz", "1/saved_model.pb"), "it is an archive. Unpack it"),
        ("m.tar", packed("w:", "1/saved_model.pb"), "it is an archive. Unpack it"),
        ("m.tar.xz", packed("w:xz", "1/saved_model.pb"), "it is an archive. Unpack it"),
        ("m.zip", packed("zip", "1/saved_model.pb"), "it is an archive. Unpack it"),
        ("saved_model.pb", model(*SIMPLE), "the directory that contains it. Set the directory: "),
        (
            "m.keras",
            packed("zip", "metadata.json", "config.json", "model.weights.h5"),
            "it is a Keras file. Load it with keras.models.load_model",
        ),
        ("m.h5", HDF5, "it is a Keras file. Load it with keras.models.load_model"),
        ("m.weights.h5", HDF5, "it contains only the weights of a Keras model"),
        ("frozen.pb", FROZEN, "it is a frozen GraphDef. Load it with tf.compat.v1.import_graph_def"),
        ("model.tflite", LITE, "it is a TensorFlow Lite file"),
        ("model.onnx", b"\x08\x07", "it is an ONNX file"),
        ("model.pt", packed("zip", "model/data.pkl"), "it is a PyTorch file"),
        # github.com/huggingface/safetensors, "Format"; PyTorch's own zip may be without data.pkl near its beginning, and was pickle before 1.6.
        ("model.pth", b"\x80\x02\x8a", "it is a PyTorch file"),
        ("model.safetensors", b"\x08\0\0\0\0\0\0\0{}", "it is a PyTorch file"),
        ("model.joblib", b"\x80\x03", "it is a pickled Python object"),
        ("model.ckpt-7.index", b"", "it is a checkpoint"),
        ("what.ever", b"nothing known", "it is a file; a SavedModel is a directory"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_is_not_a_saved_model_is_recognized_with_the_next_step(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FleetError) as caught:
        saved_model.read(str(path))
    assert words in str(caught.value) and "\n" not in str(caught.value)
    if name not in ("saved_model.pb", "what.ever"):
        with pytest.raises(FleetError) as caught:
            saved_model.read(str(tmp_path))
        assert "\n" not in str(caught.value) and words.partition(". ")[2] in str(caught.value), (
            "the directory that contains it"
        )


def test_files_of_the_folder_itself_say_what_it_is_before_those_in_its_folders(tmp_path):
    """A published version of TensorFlow Lite has the answers of its source in an archive of NumPy below assets.extra."""
    files = {"assets.extra/tfserving_fleet_answers.npz": packed("zip", "labels.npy"), "model.tflite": LITE}
    with pytest.raises(FleetError, match="'model.tflite': it is a TensorFlow Lite file"):
        saved_model.read(write(tmp_path, files))


@pytest.mark.parametrize(
    "names, words",
    [
        (["config.json", "metadata.json", "model.weights.h5"], "it contains the unpacked parts of a .keras file"),
        (
            ["checkpoint", "ckpt-1.index", "ckpt-1.data-00000-of-00001"],
            "it is a checkpoint (variables without a graph)",
        ),
        (
            ["checkpoint", "model.ckpt-9.meta", "model.ckpt-9.index", "model.ckpt-9.data-00000-of-00001"],
            "it is a checkpoint of TensorFlow 1",
        ),
        (
            ["variables/variables.index", "variables/variables.data-00000-of-00001"],
            "it has variables but no saved_model.pb",
        ),
        (["1\\saved_model.pb", "1\\variables\\variables.index"], "backslashes in their names"),
        (["model.json", "group1-shard1of1.bin"], "it is a TensorFlow.js model"),
    ],
)
def test_a_directory_that_is_not_a_saved_model_is_recognized_with_the_next_step(tmp_path, names, words):
    with pytest.raises(FleetError) as caught:
        saved_model.read(write(tmp_path, dict.fromkeys(names, b"")))
    assert words in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(FleetError, match="the archive contains no model: ") as caught:
        versions.root_of(names, "m.zip")
    assert words in str(caught.value)


def test_a_frozen_graph_under_the_name_of_a_saved_model_is_recognized(tmp_path):
    with pytest.raises(FleetError, match="it is a frozen GraphDef"):
        saved_model.read(write(tmp_path, {"saved_model.pb": FROZEN}))
