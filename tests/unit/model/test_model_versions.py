# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers, pruning and pieces of a model's versions, and the file that lists a server's models."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import versions
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import model_config_list

OPTIONS = {
    "version": None,
    "source": "/s",
    "checksum": None,
    "keep": None,
    "server": None,
    "samples": None,
    "label": None,
    "config_file": None,
    "state": "present",
    "sample_rows": 8,
    "tolerance": 0.001,
    "ready_timeout_s": 1,
    "transfer_timeout_s": 1,
}
SERVER = {"port": 8500, "model": "m", "deadline_s": 1}


@pytest.mark.parametrize(
    ("changed", "where", "text"),
    [
        ({"version": -1}, "version", "-1 is out of range"),
        ({"version": 2**63}, "version", "allowed: 0 to 9223372036854775807"),
        ({"checksum": "md5:1"}, "checksum", "sha256: and 64 hexadecimal digits"),
        ({"source": None}, "version", "neither source nor version"),
        ({"keep": 0, "server": SERVER}, "keep", "1 or more"),
        ({"keep": 2}, "keep", "needs a server"),
        ({"samples": "/s.npz"}, "samples", "needs a server"),
        ({"label": "canary"}, "label", "needs a server"),
        ({"label": "canary", "server": SERVER}, "label", "needs the file that lists"),
        ({"sample_rows": 0}, "sample_rows", "1 or more"),
        ({"ready_timeout_s": 0}, "ready_timeout_s", "0.001 to 604800 s"),
        ({"state": "absent", "version": 1}, "server", "only if its server reports"),
        ({"server": dict(SERVER, port=0)}, "server.port", "1 to 65535"),
    ],
)
def test_options_that_do_not_go_together(changed, where, text):
    with pytest.raises(FleetError, match=text) as caught:
        versions.check(dict(OPTIONS, **changed))
    assert caught.value.where == where and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("models/m", "path"),
        ("/m", "path"),
        ("file:///m", "file"),
        ("https://h/m.tar.gz?x=1", "http"),
        ("HTTP://h/m.ZIP", "http"),
        ("s3://b/m", "store"),
        ("gs://b/m", "store"),
    ],
)
def test_kinds_of_sources(source, kind):
    assert versions.kind_of(source) == kind


@pytest.mark.parametrize(
    ("source", "text"),
    [("ftp://h/m", "ftp:// is not supported"), ("https://user:secret@h/m?token=1", "https://h/m is not an archive")],
)
def test_sources_that_are_refused(source, text):
    with pytest.raises(FleetError, match=text) as caught:
        versions.kind_of(source)
    assert "secret" not in str(caught.value)


def test_numbers():
    assert versions.place([], set()) == (1, False) and versions.place([3, 7], {7}) == (7, True)
    assert versions.place([3, 7], {3}) == (8, False), "what an older version holds is published anew"
    assert versions.place([3], set(), known=[2, 9]) == (10, False) and versions.place([3], {3}, known=[9]) == (3, True)
    assert versions.place([3, 7], {3}, 3) == (3, True) and versions.place([3], set(), 5) == (5, False)
    with pytest.raises(FleetError, match="with other content"):
        versions.place([3, 7], {7}, 3)


def test_what_is_pruned():
    assert (
        versions.pruned([1, 2, 3, 4], 2, ()) == [1, 2]
        and versions.pruned([1, 2, 3, 4], 2, {1}) == [2]
        and versions.pruned([1], 3, ()) == []
    )
    statuses = [
        {"version": number, "state": state, "error_code": 0, "error_message": ""}
        for number, state in ((1, 50), (2, 40), (3, 30), (4, 20))
    ]
    assert versions.used(statuses) == {2, 3, 4} and versions.available(statuses) == [3]


@pytest.mark.parametrize(
    ("state", "code", "message", "expected"),
    [
        (10, 0, "", (False, None)),
        (20, 0, "", (False, None)),
        (30, 0, "", (True, None)),
        (50, 15, "broken", (True, "broken")),
        (50, 0, "", (False, None)),
    ],
)
def test_what_a_server_says(state, code, message, expected):
    status = {"version": 2, "state": state, "error_code": code, "error_message": message}
    assert versions.verdict([status], 2) == expected
    assert versions.verdict([], 2) == (False, None)
    assert versions.verdict([status], 2, before=[dict(status)]) == ((True, None) if state == 30 else (False, None)), (
        "an earlier end tells nothing"
    )


def test_pieces_cover_what_is_missing_and_nothing_else():
    content = {name: {"sha256": "", "bytes": count} for name, count in (("a", 5), ("b", 0), ("c", 21), ("d", 3))}
    wanted = versions.missing(content, {"a": 2, "d": 3})
    assert wanted == [("a", 2, 3), ("b", 0, 0), ("c", 0, 21)]
    assert list(versions.pieces(wanted, 8)) == [[("a", 2, 3), ("b", 0, 0), ("c", 0, 5)], [("c", 5, 8)], [("c", 13, 8)]]
    assert versions.missing(content, {name: one["bytes"] for name, one in content.items()}) == []


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", "a\nb"])
def test_paths_that_leave_the_version(path):
    with pytest.raises(FleetError, match="not a path inside a version"):
        versions.check_content({"saved_model.pb": {}, path: {}}, "s")


def test_where_an_archive_holds_the_model():
    assert (
        versions.root_of(["saved_model.pb", "variables/x"], "a") == ""
        and versions.root_of(["m/1/model.tflite", "README"], "a") == "m/1"
    )
    for names, text in (
        (["1/saved_model.pb", "2/saved_model.pb"], "several models: 1, 2"),
        (["variables/x"], "contains no model"),
    ):
        with pytest.raises(FleetError, match=text):
            versions.root_of(names, "a")


CONFIG = """
# the models
model_config_list {
  config { name: "a\\"b" base_path: "/m" "/a", model_platform: 'tensorflow' model_version_policy: { specific { versions: [1, 2] } }
           version_labels { key: "stable" value: 1 } }
  config: < name: "b" base_path: "/m/b" model_platform: "tensorflow" model_version_policy { all {} } >
}
"""


def test_a_label_moves_and_all_else_stays():
    """Read again by protobuf's own reader."""
    text_format = pytest.importorskip("google.protobuf.text_format")
    wire = pytest.importorskip("ansible_collections.tfserving.fleet.plugins.module_utils._protocol.wire")
    message = model_config_list.parse(CONFIG, "f")
    assert model_config_list.labels(message, 'a"b') == {"stable": 1} and model_config_list.specific(message, 'a"b') == [
        1,
        2,
    ]
    assert model_config_list.specific(message, "b") is None and model_config_list.labels(message, "b") == {}
    changed = model_config_list.with_label(
        model_config_list.with_versions(message, 'a"b', {1, 2, 300}), 'a"b', "canary", 300
    )
    expected = text_format.Parse(CONFIG, wire.message("tensorflow.serving.ModelServerConfig")())
    first = expected.model_config_list.config[0]
    first.model_version_policy.specific.versions.append(300)
    first.version_labels["canary"] = 300
    assert (
        text_format.Parse(model_config_list.text(changed), wire.message("tensorflow.serving.ModelServerConfig")())
        == expected
    )
    assert (
        wire.message("tensorflow.serving.ReloadConfigRequest")
        .FromString(model_config_list.reload_request(changed))
        .config
        == expected
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("model_config_list { config { name: 1 } }", "line 1: a text in quotes was expected, found .1."),
        ("model_config_list {\n config { logging_config: 1 } }", "line 2: a message in braces was expected"),
        ("model_config_list {", "ends without '}'"),
        ("model_config_list { config { name: ~ } }", "line 1: unexpected '~'"),
        ("}", "line 1: unexpected '}'"),
    ],
)
def test_files_that_are_not_understood_are_refused(text, fault):
    with pytest.raises(FleetError, match=fault):
        model_config_list.parse(text, "f")


def test_a_model_that_is_not_listed():
    with pytest.raises(FleetError, match="the model 'c' is not listed"):
        model_config_list.labels(model_config_list.parse(CONFIG, "f"), "c")
