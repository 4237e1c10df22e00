# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Published versions on a disk: which is the same as before, and what a new one has before a server can see it."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import model_update
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    acceptance,
    manifest,
    published,
    transfer,
    versions,
)

BATCHING = "batching_params.pbtxt"


def publish(destination, number, content=b"model"):
    destination.mkdir(exist_ok=True)
    staged = published.stage(str(destination))
    with open(f"{staged}/saved_model.pb", "wb") as stream:
        stream.write(content)
    source = {"digest": content.hex(), "path": "/srv/source", "tensorflow_version": "2.20.0"}
    made = manifest.build(source, {}, None, acceptance.ending(True, ""), published.inventory(staged))
    published.finish(staged, str(destination), number, made)
    return made["key"]


def number_of(folder, key):
    held = published.held(str(folder), key)
    return versions.place(held, manifest.holding(held, key))[0]


def test_batching_parameters_that_the_host_wrote_do_not_make_a_version_another_one(tmp_path):
    key = publish(tmp_path / "m", 1)
    (tmp_path / "m" / "1" / BATCHING).write_text("max_batch_size { value: 2 }\n", encoding="utf-8")
    assert number_of(tmp_path / "m", key) == 1
    folder = model_update.Folder(str(tmp_path / "m"))
    content = transfer.content_of(str(tmp_path / "m" / "1"), "m")
    assert set(content) == {"saved_model.pb"} and folder.holding(content) == {1}
    (tmp_path / "m" / "1" / "saved_model.pb").write_bytes(b"other")
    assert number_of(tmp_path / "m", key) == 2 and folder.holding(content) == set()


def test_a_new_version_has_the_batching_parameters_of_the_newest_before_a_server_can_see_it(tmp_path):
    publish(tmp_path / "m", 1)
    assert not (tmp_path / "m" / "1" / BATCHING).exists()
    (tmp_path / "m" / "1" / BATCHING).write_text("max_batch_size { value: 2 }\n", encoding="utf-8")
    key = publish(tmp_path / "m", 2, b"retrained")
    assert (tmp_path / "m" / "2" / BATCHING).read_text(encoding="utf-8") == "max_batch_size { value: 2 }\n"
    assert number_of(tmp_path / "m", key) == 2


def test_batching_parameters_that_came_with_the_model_are_a_part_of_it(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "saved_model.pb").write_bytes(b"model")
    (tmp_path / "source" / BATCHING).write_text("max_batch_size { value: 4 }\n", encoding="utf-8")
    content = transfer.content_of(str(tmp_path / "source"), "source")
    assert set(content) == {"saved_model.pb", BATCHING}
    folder = model_update.Folder(str(tmp_path))
    (tmp_path / "source").rename(tmp_path / "1")
    assert folder.holding(content) == {1}
    (tmp_path / "1" / BATCHING).write_text("max_batch_size { value: 5 }\n", encoding="utf-8")
    assert folder.holding(content) == set()


def test_other_files_that_no_manifest_names_are_refused_still(tmp_path):
    publish(tmp_path / "m", 1)
    (tmp_path / "m" / "1" / "left.over").write_text("x", encoding="utf-8")
    with pytest.raises(FleetError, match=r"left\.over is not in the version's manifest"):
        transfer.content_of(str(tmp_path / "m" / "1"), "m")
