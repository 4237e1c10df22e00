# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For fuzz.py: real SavedModels, warm-up files, manifests and samples that were cut, damaged, spliced, or given other lengths, read as modules read them."""

from __future__ import annotations

import functools
import io
import json
import os
import random
import shutil
import struct
import zipfile
import zlib

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import published, samples
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import stdlib_client
from ansible_collections.tfserving.fleet.plugins.modules import saved_model_info
from ansible_collections.tfserving.fleet.tests.security import fuzz

WARMUP = os.path.join("assets.extra", "tf_serving_warmup_requests")
TENSORS = {"x": {"dtype": "float32", "shape": [None, 2]}}
# Headers as numpy.lib.format describes them, and what none may be.
HEADERS = [
    b"(" * 60000,
    b"{'descr': [['a']], 'fortran_order': False, 'shape': (1,)}",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,)}",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
    b"{'descr': '<U0', 'fortran_order': False, 'shape': (999999999999,)}",
    b"{'descr': '<U99999999999', 'fortran_order': False, 'shape': (1,)}",
    b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
    b"{'descr': '|V0', 'fortran_order': False, 'shape': (99999999999, 5)}",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"1," * 40 + b")}",
    b"{[]: 1}",
    b"\0",
    b"-" * 5000 + b"1",
]


def cases(seed, folder, given):
    """one(number): read what was made of one of the models below the folder given, or of a file of samples."""
    models = [
        os.path.join(given, name) for name in sorted(os.listdir(given)) if os.path.isdir(os.path.join(given, name))
    ]
    sound = _samples()

    def one(number):
        dice = random.Random(f"{seed} {number}")
        try:
            if number < 0:
                for name, content in sound.items():
                    read_samples(folder, name, content)
                read_model(copied(models[0], folder))
            elif number % 2:
                name = dice.choice(sorted(sound))
                read_samples(folder, name, changed_samples(dice, name, sound))
            else:
                read_model(garble(dice, copied(dice.choice(models), folder), models, sound))
        finally:
            fuzz.empty(folder)

    return one


def copied(model, folder):
    return shutil.copytree(model, os.path.join(folder, "model"))


def read_model(path):
    """What saved_model_info says of it, and what publishing looks at."""
    manifest = published.manifest_of(path)
    assert manifest is None or isinstance(manifest["files"], dict)
    saved_model_info.describe(
        {"path": path, "tags": ["serve"], "load": False, "timeout_s": 1, "server_release": "2.20.0"}
    )


def read_samples(folder, name, content):
    """As the hosts read them, without NumPy, and as converters do. What one refuses the other may read."""
    path = os.path.join(folder, name)
    with open(path, "wb") as stream:
        stream.write(content)
    faults = []
    for read in (
        lambda: stdlib_client.arrays(path, "inputs."),
        lambda: samples.read(path, tensors=TENSORS),
    ):
        try:
            read()
        except FleetError as fault:
            faults.append(fault)
            assert len(str(fault).splitlines()) == 1, str(fault)
    if len(faults) == 2:
        raise faults[0]


def _samples():
    import numpy

    archive, packed = io.BytesIO(), io.BytesIO()
    arrays = {
        "inputs.x": numpy.ones((3, 2), "float32"),
        "inputs.s": numpy.array(["a", "bb", "c"]),
        "labels": numpy.arange(3),
    }
    numpy.savez(archive, **arrays)
    numpy.savez_compressed(packed, **arrays)
    lines = b'{"inputs": {"x": [1.0, 2.0]}, "label": 1}\n{"inputs": {"x": [3.0, 4.0]}, "label": 0}\n'
    return {
        "archive.npz": archive.getvalue(),
        "packed.npz": packed.getvalue(),
        "lines.jsonl": lines,
        "examples.tfrecord": b"".join(map(framed, [example(), example()])),
        "warmup.tfrecord": b"".join(map(framed, [request(), request()])),
    }


def field(number, content):
    """A field of bytes (protobuf.dev/programming-guides/encoding)."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value):
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def example():
    """tf.Example {features {feature {key: "x" value {float_list {value: [1, 2]}}}}} (tensorflow/core/example/example.proto)."""
    floats = field(2, field(1, struct.pack("<2f", 1, 2)))
    return field(1, field(1, field(1, b"x") + field(2, floats)))


def request():
    """PredictionLog {predict_log {request {model_spec {name: "m" signature_name: "serving_default"} inputs {key: "x" value: TensorProto}}}}."""
    shape = field(2, field(2, b"\x08\x01") + field(2, b"\x08\x02"))
    tensor = b"\x08\x01" + shape + field(4, struct.pack("<2f", 1, 2))
    spec = field(1, field(1, b"m") + field(3, b"serving_default"))
    return field(6, field(1, spec + field(2, field(1, b"x") + field(2, tensor))))


_TABLE = []
for _byte in range(256):
    for _bit in range(8):
        _byte = _byte >> 1 ^ (0x82F63B78 if _byte & 1 else 0)
    _TABLE.append(_byte)


def masked(content):
    """The checksum of TFRecord files (tensorflow.org/tutorials/load_data/tfrecord)."""
    found = 0xFFFFFFFF
    for byte in content:
        found = _TABLE[(found ^ byte) & 255] ^ found >> 8
    found ^= 0xFFFFFFFF
    return ((found >> 15 | found << 17) + 0xA282EAD8) & 0xFFFFFFFF


def framed(record, length=None):
    size = struct.pack("<Q", len(record) if length is None else length)
    return size + struct.pack("<I", masked(size)) + record + struct.pack("<I", masked(record))


def changed_samples(dice, name, sound):
    roll = dice.random()
    if name.endswith(".npz") and roll < 0.6:
        return archive(dice, roll)
    if name.endswith(".tfrecord") and roll < 0.7:
        record = request() if name.startswith("warmup") else example()
        wrong = [0, 1, 1 << 31, (1 << 63) - 1, (1 << 64) - 1, len(record) + 1]
        length = dice.choice(wrong) if dice.random() < 0.3 else None
        return framed(record) + framed(garbled(dice, record, record), length)
    if name.endswith(".jsonl") and roll < 0.5:
        deep, big = "[" * dice.choice([10, 900, 200_000]), "9" * dice.choice([30, 5000])
        value = dice.choice(
            [deep, big, "1e999", "NaN", '"\\ud800"', '{"b64": "%%%"}', '{"b64": 5}', "null", "{}", "[[1], 2]"]
        )
        return f'{{"inputs": {{"x": {value}}}, "label": {dice.choice(["1", value])}}}\n'.encode()
    return garbled(dice, sound[name], sound[dice.choice(sorted(sound))])


def archive(dice, roll):
    """An archive with one array whose header, or packed size, is not what it should be."""
    header = garbled(dice, dice.choice(HEADERS), b"x") if roll < 0.3 else dice.choice(HEADERS)
    content = b"\x93NUMPY" + dice.choice([b"\1\0", b"\2\0", b"\3\0", b"\7\7"]) + struct.pack("<H", len(header) & 0xFFFF)
    content += header + bytes(dice.choice([0, 8, 24, 4096]))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", dice.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as packed:
        packed.writestr(dice.choice(["inputs.x.npy", "inputs.x", "inputs.../../x.npy", "inputs.x.npy/"]), content)
        if dice.random() < 0.02:  # A quarter of a GiB of zeros.
            with packed.open(zipfile.ZipInfo("inputs.z.npy"), "w") as stream:
                fine = b"{'descr': '|u1', 'fortran_order': False, 'shape': (268435456,)}\n"
                stream.write(b"\x93NUMPY\1\0" + struct.pack("<H", len(fine)) + fine)
    return made.getvalue() if roll > 0.05 else zeros()


@functools.cache
def zeros():
    """An archive of a quarter of a GiB of zeros that were packed well."""
    fine = b"{'descr': '|u1', 'fortran_order': False, 'shape': (268435456,)}".ljust(117) + b"\n"
    made, packer = io.BytesIO(), zlib.compressobj(9, zlib.DEFLATED, -15)
    content = b"\x93NUMPY\1\0" + struct.pack("<H", len(fine)) + fine
    block, checksum, size = bytes(1 << 20), zlib.crc32(content), len(content)
    packed = packer.compress(content)
    for _time in range(256):
        packed += packer.compress(block)
        checksum, size = zlib.crc32(block, checksum), size + len(block)
    packed += packer.flush()
    name = b"inputs.x.npy"
    common = struct.pack("<HHHIIIIHH", 20, 0, 8, 0, checksum, len(packed), size, len(name), 0)
    made.write(b"PK\3\4" + common + name + packed)
    start = made.tell()
    made.write(b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name)
    made.write(b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, made.tell() - start, start, 0))
    return made.getvalue()


def garble(dice, model, models, sound):
    """Change files of a model's folder; what it lacks may come to it."""
    for _time in range(dice.choice([1, 1, 1, 2, 4])):
        names = [
            os.path.relpath(os.path.join(parent, name), model)
            for parent, _folders, found in os.walk(model)
            for name in found
        ]
        name = dice.choice(
            sorted(names) + ["saved_model.pb"] * 3 + [WARMUP, "manifest.json", "variables/variables.index"]
        )
        path = os.path.join(model, name)
        if os.path.lexists(path) and not os.path.isfile(path) or os.path.islink(path):
            continue
        os.makedirs(os.path.dirname(path), exist_ok=True)
        content = manifest(dice) if name == "manifest.json" else sound["warmup.tfrecord"] if name == WARMUP else None
        if content is None and not os.path.exists(path):
            content = b""
        if content is None:
            with open(path, "rb") as stream:
                content = stream.read()
        other = os.path.join(
            dice.choice(models), "saved_model.pb" if dice.random() < 0.7 else "variables/variables.index"
        )
        with open(other, "rb") as stream:
            spliced = stream.read()
        roll = dice.random()
        if name == WARMUP and roll < 0.6:
            content = framed(garbled(dice, request(), spliced)) + framed(request(), dice.choice([None, 0, 1 << 40]))
        elif roll < 0.95:
            content = garbled(dice, content, spliced)
        os.unlink(path) if os.path.exists(path) else None
        if roll < 0.98:
            with open(path, "wb") as stream:
                stream.write(content)
        elif roll < 0.99:
            os.symlink(dice.choice(["/dev/zero", "..", "saved_model.pb", "/nowhere"]), path)
        else:
            os.mkfifo(path)
    return model


def manifest(dice):
    """A manifest as the collection writes it, with one value that it never has."""
    told = {"schema": 1, "key": "k", "files": {"saved_model.pb": {"sha256": "0" * 64, "bytes": 1}}, "gates": None}
    key = dice.choice([*told, "schema", "files", "options", "converter"])
    told[key] = dice.choice(
        [None, 5, -1, [], {}, "x", [1], {"a": 1}, {"../x": {"sha256": 1, "bytes": -1}}, 1e300, True]
    )
    return json.dumps(told).encode() if dice.random() < 0.9 else b"[" * 100_000


def garbled(dice, content, other):
    """Bytes that were flipped, cut, put in, taken out, doubled, or that go on as another file's."""
    content = bytearray(content)
    if not content:
        return dice.randbytes(20)
    place, roll = dice.randrange(len(content)), dice.random()
    if roll < 0.35:
        for _time in range(dice.choice([1, 2, 8, 64])):
            content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    elif roll < 0.5:
        del content[place:]
    elif roll < 0.65:
        content[place:] = other[dice.randrange(len(other) + 1) :]
    elif roll < 0.75:
        content[place : place + dice.randrange(1, 50)] = b""
    elif roll < 0.9:  # Lengths that no file has: of ten bytes, of five, negative.
        strange = [b"\xff" * 9 + b"\1", b"\xff\xff\xff\xff\x0f", b"\x80" * 10, bytes(8), b"\xff" * 8, dice.randbytes(4)]
        put = dice.choice(strange)
        content[place : place + len(put)] = put
    else:
        end = min(len(content), place + dice.randrange(1, 2000))
        content[place:place] = content[place:end] * dice.choice([1, 2, 100])
    return bytes(content)
