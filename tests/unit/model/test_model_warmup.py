# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TFRecord files and warm-up files, against bytes made by hand after the field numbers of upstream's .proto files and published checksums."""

from __future__ import annotations

import struct

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._model import warmup
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import tfrecord

# A TFRecord file of the record "hello", as TensorFlow 2.21's tf.io.TFRecordWriter writes it.
HELLO = bytes.fromhex("0500000000000000 eab2043e 68656c6c6f bb1f1c19")


def held(field, *parts):
    content = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return bytes([field << 3 | 2, len(content)]) + content


def number(field, value):
    return bytes([field << 3, value])


def tensor(dtype, *shape):
    return number(1, dtype) + held(2, *[held(2, number(1, size)) for size in shape])


def request(signature="serving_default", **inputs):
    return held(1, held(1, "any"), held(3, signature)) + b"".join(
        held(2, held(1, name), held(2, value)) for name, value in inputs.items()
    )


def log(asked, kind=6):
    return held(kind, held(1, asked))


SIGNATURES = {
    "serving_default": {"inputs": {"x": {"dtype": "float32", "shape": [None, 3], "tensor": "x:0"}}, "outputs": {}}
}


def test_records_are_framed_as_tensorflow_does():
    assert b"".join(tfrecord.records(HELLO)) == b"hello"
    assert tfrecord.frame(b"hello") == HELLO
    # RFC 3720, B.4: the checksum of 32 zero bytes is 8a9136aa, of "123456789" e3069283 (the catalogue's check value); masked as the format says.
    for content, checksum in ((bytes(32), 0x8A9136AA), (b"123456789", 0xE3069283)):
        masked = ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
        assert tfrecord.frame(content)[-4:] == struct.pack("<I", masked)


def test_any_cut_or_flipped_bit_is_noticed():
    two = HELLO + HELLO
    for length in range(1, len(two)):
        if length != len(HELLO):
            with pytest.raises(tfrecord.Malformed):
                list(tfrecord.records(two[:length]))
    for position in range(len(HELLO)):
        with pytest.raises(tfrecord.Malformed):
            list(tfrecord.records(HELLO[:position] + bytes([HELLO[position] ^ 1]) + HELLO[position + 1 :]))
    assert list(tfrecord.records(b"")) == [] and not tfrecord.is_one(b"PK") and tfrecord.is_one(HELLO)


def test_a_file_is_written_and_read_back():
    one, two = request(x=tensor(1, 1, 3)), request(x=tensor(1, 8, 3))
    content = warmup.file([one, two])
    assert [bytes(part) for part in tfrecord.records(content)] == [log(one), log(two)]
    assert [bytes(part) for part in warmup.requests(content)] == [one, two]
    assert warmup.look(content, SIGNATURES) == {
        "records": 2,
        "kinds": {"predict": 2},
        "batch_sizes": [1, 8],
        "faults": [],
    }


def test_warm_up_files_are_told_from_examples():
    example = held(1, held(1, held(1, "age"), held(2, held(2, held(1, struct.pack("<f", 3))))))
    assert (
        warmup.is_one(warmup.file([request()]))
        and not warmup.is_one(tfrecord.frame(example))
        and not warmup.is_one(b"")
        and not warmup.is_one(b"garbage")
    )


@pytest.mark.parametrize(
    "content, words",
    [
        (
            warmup.file([request(x=tensor(1, 3))]),
            "record 1 has shape [3] for input x, which takes [?, 3]; a wrong rank can end the server at every start",
        ),
        (warmup.file([request(x=tensor(1, 1, 4))]), "record 1 has shape [1, 4]"),
        (
            warmup.file([request(x=tensor(1, 1, 3))] * 2 + [request(x=tensor(2, 1, 3))]),
            "record 3 has float64 for input x, which takes float32",
        ),
        (warmup.file([request()]), "record 1 lacks the input x"),
        (warmup.file([request(x=tensor(1, 1, 3), y=tensor(1, 1))]), "record 1 has an unknown input y"),
        (
            warmup.file([request("other", x=tensor(1, 1, 3))]),
            "requests the signature 'other'; the model has serving_default",
        ),
        (
            warmup.file([request(x=tensor(1, 1, 3))] * 1001),
            "it has at least 1001 records; servers refuse more than 1000",
        ),
        (tfrecord.frame(log(request(), 5)), "record 1 is a session_run log, which servers refuse"),
        (tfrecord.frame(log(request(), 7)), "record 1 is a predict_streamed log"),
        (b"garbage", "it is not a TFRecord file of PredictionLog messages: no record begins at byte 0"),
        (tfrecord.frame(b"\xff"), "it is not a TFRecord file of PredictionLog messages"),
    ],
)
def test_what_a_server_would_refuse_or_die_of_is_named(content, words):
    assert any(words in fault for fault in warmup.look(content, SIGNATURES)["faults"])


def test_a_thousand_records_are_allowed():
    assert warmup.look(warmup.file([request(x=tensor(1, 1, 3))] * 1000), SIGNATURES)["faults"] == []


def test_a_record_may_leave_out_what_has_a_default():
    """Recorded of TensorFlow Serving 2.20.0: an input is missing where it is "not found in request and no default value provided"."""
    assert warmup.look(warmup.file([request()]), SIGNATURES, {"serving_default": ["x"]})["faults"] == []
