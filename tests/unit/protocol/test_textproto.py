# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text files that users and servers have, judged by protobuf's own text_format; what that library reads otherwise than the specification cites it."""

from __future__ import annotations

import pytest

text_format = pytest.importorskip("google.protobuf.text_format")
hypothesis = pytest.importorskip("hypothesis")

from ansible_collections.tfserving.fleet.plugins.module_utils._batching import parameters
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import model_config_list, wire
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.textproto import reader, schema, writer
from hypothesis import strategies as st

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
INTEGERS = {"int64": (-(2**63), 2**63 - 1), "int32": (-(2**31), 2**31 - 1), "uint32": (0, 2**32 - 1)}
KINDS = [schema.SERVER_CONFIG, schema.BATCHING, schema.MONITORING, "tensorflow.serving.SSLConfig"]


def judged(text, kind=schema.SERVER_CONFIG):
    """What protobuf's library reads."""
    return text_format.Parse(text, wire.message(kind)())


def ours(text, kind=schema.SERVER_CONFIG):
    """What our reader reads, as protobuf's message, after a trip through our writer of text and of bytes."""
    read = reader.read(text, kind, "f")
    found = wire.message(kind).FromString(writer.encode(read, kind))
    assert judged(writer.text(read), kind) == found
    return found


def value_of(draw, field):
    if field.message_type:
        return message_of(draw, field.message_type)
    if field.enum_type:
        return draw(st.sampled_from([value.number for value in field.enum_type.values]))
    kind = {field.TYPE_INT64: "int64", field.TYPE_INT32: "int32", field.TYPE_UINT32: "uint32"}.get(field.type)
    if kind:
        return draw(st.integers(*INTEGERS[kind]))
    return draw(
        {
            field.TYPE_STRING: TEXTS,
            field.TYPE_BYTES: st.binary(max_size=12),
            field.TYPE_BOOL: st.booleans(),
            field.TYPE_DOUBLE: st.floats(allow_nan=False),
        }[field.type]
    )


def message_of(draw, descriptor):
    """A message with any of its fields, as protobuf's class."""
    made, chosen = wire.message(descriptor.full_name)(), set()
    for field in descriptor.fields:
        if not draw(st.booleans()) or field.containing_oneof in chosen:
            continue
        if field.containing_oneof:
            chosen.add(field.containing_oneof)
        if field.is_repeated and field.message_type and field.message_type.GetOptions().map_entry:
            for key in draw(st.sets(TEXTS, max_size=3)):
                getattr(made, field.name)[key] = value_of(draw, field.message_type.fields_by_name["value"])
        elif field.is_repeated:
            getattr(made, field.name).extend([value_of(draw, field) for _number in range(draw(st.integers(0, 3)))])
        elif field.message_type:
            getattr(made, field.name).CopyFrom(value_of(draw, field))
        else:
            setattr(made, field.name, value_of(draw, field))
    return made


@pytest.mark.parametrize("kind", KINDS)
@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(data=st.data())
def test_whatever_protobuf_writes_is_read_and_written_back_as_the_same_message(kind, data):
    message = message_of(data.draw, wire.message(kind).DESCRIPTOR)
    style = data.draw(
        st.fixed_dictionaries(
            {
                "as_one_line": st.booleans(),
                "use_short_repeated_primitives": st.booleans(),
                "pointy_brackets": st.booleans(),
                "as_utf8": st.booleans(),
                "force_colon": st.booleans(),
            }
        )
    )
    assert ours(text_format.MessageToString(message, **style), kind) == message


MODEL = "model_config_list {{ config {{ name: 'm' {} }} }}"


@pytest.mark.parametrize(
    "field",
    [
        r'base_path: "/m/caf\303\251"',
        r"base_path: '/m/\xe2\x82\xac \x41'",
        r'base_path: "a" "b"' + "\n'c'",
        r'base_path: "tab\tline\nquote\"\'\\ \a\b\f\v"',
        r'base_path: "\7\07\007\1018"',
        "base_path: 'it\"s'",
        'base_path: "it\'s" # why\n',
        "model_version_policy { specific { versions: 010 versions: 0x1F versions: 7 } }",
        "model_version_policy: { specific: { versions: [1, 0x2, 03] } }",
        "model_version_policy < latest < num_versions: 2 > >",
        "model_version_policy { all {} };",
        "version_labels { key: 'a' value: 1 }, version_labels { value: 2 key: 'b' }",
        "version_labels: [{ key: 'a' value: 1 }, < key: 'b' value: -2 >]",
        "version_labels: []",
        "version_labels { key: 'a' value: 1 } version_labels { key: 'a' value: 2 }",
        "version_labels { key: 'a' }",
        "model_type: TENSORFLOW",
        "model_type: 1",
        "logging_config { log_collector_config { type: 'x' filename_prefix: '/p' } sampling_config { sampling_rate: 0.25 } }",
        "logging_config { sampling_config { sampling_rate: 1e-3f attributes: -3 } }",
        "logging_config { sampling_config { sampling_rate: -inf } }",
        "logging_config { custom_logging_config { type_url: 'a/b' value: '\\377\\000' } }",
        "name: 'm'",
        "base_path: '' base_path: 'x'",
        "base_path: 'x' base_path: 'y'",
        "model_version_policy { all {} latest {} }",
        "model_version_policy {} model_version_policy {}",
        "model_version_policy { latest { num_versions: -1 } }",
        "model_version_policy { specific { versions: 08 } }",
        "model_version_policy { specific { versions: 1.5 } }",
        "model_version_policy { specific { versions: 9223372036854775808 } }",
        "model_version_policy { specific { versions: -9223372036854775808 } }",
        "model_version_policy { latest { num_versions: 4294967296 } }",
        "base_path 'x'",
        "base_path: x",
        "base_path: 1",
        "base_path: 'x\n'",
        "base_path: 'x",
        "base_path: '\\377'",
        "model_type: NONE",
        "unknown: 1",
        "version_labels: [{}, ]",
        "version_labels: [,]",
        "model_version_policy { latest { num_versions: [1] } }",
        "base_path: 'x',, ",
        ", base_path: 'x'",
        "base_path: 'x';",
        "{}",
        "model_version_policy { latest { num_versions: 1 } >",
        "model_version_policy {",
        "1: 2",
        "base_path: ['x']",
        "model_version_policy { specific { versions: [] } }",
        "model_version_policy { specific { versions: true } }",
        "~",
        "logging_config { sampling_config { sampling_rate: x } }",
        "logging_config { sampling_config { sampling_rate: 1. } }",
        "logging_config { sampling_config { sampling_rate: .5 } }",
        "logging_config { sampling_config { sampling_rate: 0.5 } }",
        "logging_config { sampling_config { sampling_rate: 00.5 } }",
        "logging_config { sampling_config { sampling_rate: 01e3 } }",
    ],
)
def test_a_file_that_a_user_wrote_means_what_protobuf_reads_in_it(field):
    text = MODEL.format(field)
    try:
        expected = judged(text)
    except text_format.ParseError:
        with pytest.raises(FleetError):
            reader.read(text, schema.SERVER_CONFIG, "f")
        return
    assert ours(text) == expected


@pytest.mark.parametrize(
    ("escaped", "expected"),
    [
        # protobuf.dev/reference/protobuf/textformat-spec, "String Literals": the code point's UTF-8. Python's library makes Latin-1 of the first.
        (r"\u00e9", "é"),
        (r"\u20ac", "€"),
        (r"\U0001F600", "😀"),
        (r"\ud83d\ude00", "😀"),
        (r"\\u00e9", r"\u00e9"),
        (r"\\\u00e9", "\\é"),
        (r"\X41", "A"),
        (r"\?", "?"),
    ],
)
def test_code_points_in_a_path_are_read_as_the_specification_says(escaped, expected):
    assert ours(MODEL.format(f'base_path: "{escaped}"')).model_config_list.config[0].base_path == expected


@pytest.mark.parametrize("escaped", [r"\ud83d", r"\U00110000", r"\u12", r"\q", r"\x", r"\400"])
def test_escapes_that_stand_for_no_character_are_refused(escaped):
    with pytest.raises(FleetError, match="escape|UTF-8"):
        reader.read(MODEL.format(f'base_path: "{escaped}"'), schema.SERVER_CONFIG, "f")


def test_a_label_leaves_another_models_path_and_settings_as_they_are():
    text = (
        "model_config_list { config { name: 'm' base_path: '/m/m' model_platform: 'tensorflow' }\n"
        r"config: { name: 'other' base_path: '/m/caf\303\251\n' model_type: TENSORFLOW logging_config { sampling_config { sampling_rate: 0.5 } } } }"
    )
    changed = model_config_list.with_label(model_config_list.parse(text, "f"), "m", "canary", 8)
    expected = judged(text)
    expected.model_config_list.config[0].version_labels["canary"] = 8
    assert judged(model_config_list.text(changed)) == expected
    assert (
        wire.message("tensorflow.serving.ReloadConfigRequest")
        .FromString(model_config_list.reload_request(changed))
        .config
        == expected
    )


@pytest.mark.parametrize(
    "field",
    [
        "of_a_later_release: 5",
        "later { a: 1 b <c: 'x}'> }",
        "later: [{ a: 1 }, { a: 2 }]",
        "later: 'a' \"b\"",
        "later: -1.5",
        "later: NAME",
    ],
)
def test_fields_of_a_later_release_are_kept_and_not_sent(field):
    text = MODEL.format(field)
    kept = model_config_list.text(model_config_list.with_label(model_config_list.parse(text, "f"), "m", "a", 1))
    assert field.partition(" ")[0].rstrip(":") in kept
    relaxed = wire.message(schema.SERVER_CONFIG)
    assert text_format.Parse(kept, relaxed(), allow_unknown_field=True).model_config_list.config[0].version_labels == {
        "a": 1
    }
    with pytest.raises(FleetError, match="cannot be sent"):
        model_config_list.reload_request(model_config_list.parse(text, "f"))


def test_comments_are_found_where_they_are_and_not_in_texts():
    assert reader.comments('# a\nx: \'#b\' # c\n\n  y: "\\"#" #d') == [1, 2, 4]


def test_a_file_in_another_encoding_is_refused_and_not_damaged():
    with pytest.raises(FleetError, match="byte 36 is not UTF-8"):
        reader.decoded('model_config_list { config {name: "é"} }'.encode("latin-1"), "f")


def test_batching_files_of_users_are_read_as_protobuf_reads_them():
    text = (
        "max_batch_size: { value: 0x20 } batch_timeout_micros <value: 1000>, allowed_batch_sizes: [8, 32] thread_pool_name { value: 'a' 'b' }\n"
        "num_batch_threads {} enable_large_batch_splitting: {} pad_variable_length_inputs: t"
    )
    read = judged(text, schema.BATCHING)
    assert parameters.read(text) == {
        "max_batch_size": read.max_batch_size.value,
        "batch_timeout_micros": read.batch_timeout_micros.value,
        "allowed_batch_sizes": list(read.allowed_batch_sizes),
        "thread_pool_name": read.thread_pool_name.value,
        "num_batch_threads": read.num_batch_threads.value,
        "enable_large_batch_splitting": read.enable_large_batch_splitting.value,
        "pad_variable_length_inputs": read.pad_variable_length_inputs,
    }
    assert parameters.read("max_batch_size: 32") is None
