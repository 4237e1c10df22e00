# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Published versions on a disk: which is the same as before, and what a new one has before a server can see it."""

from __future__ import annotations

import hashlib
import os
import stat
import time

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import model_folder
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    acceptance,
    digests,
    manifest,
    published,
    transfer,
    versions,
)

BATCHING = "batching_params.pbtxt"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def publish(destination, number, content=b"model"):
    destination.mkdir(exist_ok=True)
    staged = published.stage(str(destination))
    with open(f"{staged}/saved_model.pb", "wb") as stream:
        stream.write(content)
    source = {"digest": content.hex(), "path": "/srv/source", "tensorflow_version": "2.20.0"}
    files = published.inventory(staged, digests.Digests())
    made = manifest.build(source, {}, None, acceptance.ending(True, ""), files)
    published.finish(staged, str(destination), number, made)
    return manifest.held_key(made)


def number_of(folder, key):
    held = published.held(str(folder), key, digests.Digests())
    return versions.place(held, manifest.holding(held, key))[0]


def test_batching_parameters_that_the_host_wrote_do_not_make_a_version_another_one(tmp_path):
    key = publish(tmp_path / "m", 1)
    (tmp_path / "m" / "1" / BATCHING).write_text("max_batch_size { value: 2 }\n", encoding="utf-8")
    assert number_of(tmp_path / "m", key) == 1
    folder = model_folder.Folder(str(tmp_path / "m"))
    content = transfer.content_of(str(tmp_path / "m" / "1"), "m", digests.Digests())
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


def test_batching_parameters_that_came_with_the_model_travel_with_it_and_do_not_make_it_another_one(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "saved_model.pb").write_bytes(b"model")
    (tmp_path / "source" / BATCHING).write_text("max_batch_size { value: 4 }\n", encoding="utf-8")
    content = transfer.content_of(str(tmp_path / "source"), "source", digests.Digests())
    assert set(content) == {"saved_model.pb", BATCHING}
    folder = model_folder.Folder(str(tmp_path))
    (tmp_path / "source").rename(tmp_path / "1")
    assert folder.holding(content) == {1}
    (tmp_path / "1" / BATCHING).write_text("max_batch_size { value: 5 }\n", encoding="utf-8")
    assert folder.holding(content) == {1}
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"other")
    assert folder.holding(content) == set()


def test_other_files_that_no_manifest_names_are_refused_still(tmp_path):
    publish(tmp_path / "m", 1)
    (tmp_path / "m" / "1" / "left.over").write_text("x", encoding="utf-8")
    with pytest.raises(FleetError, match=r"left\.over is not in the version's manifest"):
        transfer.content_of(str(tmp_path / "m" / "1"), "m", digests.Digests())


def test_warm_up_requests_do_not_make_a_version_another_one(tmp_path):
    """TensorFlow Serving reads them from assets.extra/tf_serving_warmup_requests (its guide "SavedModel Warmup")."""
    key = publish(tmp_path / "m", 1)
    extra = tmp_path / "m" / "1" / "assets.extra"
    extra.mkdir()
    (extra / "tf_serving_warmup_requests").write_bytes(b"requests")
    assert number_of(tmp_path / "m", key) == 1
    content = published.inventory(str(tmp_path / "m" / "1"), digests.Digests())
    content = {name: one for name, one in content.items() if name == "saved_model.pb"}
    assert model_folder.Folder(str(tmp_path / "m")).holding(content) == {1}
    (extra / "vocabulary").write_bytes(b"an asset of the model")
    assert number_of(tmp_path / "m", key) == 2


def test_a_number_that_holds_something_else_is_refused_and_both_are_named(tmp_path):
    publish(tmp_path / "m", 3, b"first")
    held = published.held(str(tmp_path / "m"), None, digests.Digests())
    with pytest.raises(
        FleetError, match=r"version 3 already exists .*: /srv/source \(sha256 [0-9a-f]{12}\) there, new now"
    ):
        versions.place(held, set(), 3, both=lambda number: f"{manifest.origin(held[number])} there, new now")


def test_digests_are_remembered_as_long_as_a_file_is_the_same(tmp_path):
    """The rules are those of Git for its index (Documentation/technical/racy-git.txt)."""
    cache, long_ago = tmp_path / "cache" / "tfserving" / "digests", 1_000_000_000
    same, size, other = (tmp_path / name for name in ("same", "size", "other"))
    for path in (same, size, other):
        path.write_bytes(b"model")
        os.utime(path, (long_ago, long_ago))
        assert of(path) == sha256(b"model")
    assert not cache.exists(), "the status of these files is young"
    time.sleep(3.1)
    assert {of(path) for path in (same, size, other)} == {sha256(b"model")}
    assert stat.S_IMODE(cache.stat().st_mode) == 0o600

    marked = sha256(b"from memory")
    cache.write_text(cache.read_text(encoding="ascii").replace(sha256(b"model"), marked), encoding="ascii")
    assert of(same) == marked
    size.write_bytes(b"other")
    os.utime(size, (long_ago, long_ago))
    (tmp_path / "new").write_bytes(b"other")
    os.utime(tmp_path / "new", (long_ago, long_ago))
    (tmp_path / "new").rename(other)
    assert of(size) == of(other) == sha256(b"other"), "of the same size, with the times of before"
    cache.chmod(0o666)
    assert of(same) == sha256(b"model"), "what others may write is not believed"
    cache.chmod(0o600)
    assert of(same, rehash=True) == of(same) == sha256(b"model"), "read, and remembered anew"


def test_nothing_is_remembered_of_files_on_other_machines(tmp_path, monkeypatch):
    """Their status may be one of a while ago: nfs(5), "Data and metadata coherence". The lines are those of proc_pid_mountinfo(5)."""
    mounts, device = tmp_path / "mountinfo", os.stat(tmp_path).st_dev
    line = "36 35 {}:{} / /srv rw,noatime shared:1 master:1 - {} storage:/models rw\n"
    monkeypatch.setattr(digests, "_MOUNTS", str(mounts))
    (tmp_path / "model").write_bytes(b"model")
    time.sleep(3.1)
    for kind in ("nfs4", "cifs", "fuse.sshfs", "9p"):
        mounts.write_text(line.format(os.major(device), os.minor(device), kind), encoding="utf-8")
        assert of(tmp_path / "model") == sha256(b"model") and not (tmp_path / "cache").exists(), kind
    mounts.write_text(
        line.format(os.major(device), os.minor(device), "ext4") + line.format(98, 0, "nfs"), encoding="utf-8"
    )
    assert of(tmp_path / "model") == sha256(b"model") and (tmp_path / "cache").exists()


def of(path, rehash=False):
    return digests.Digests(rehash).of(str(path))


def sha256(content):
    return hashlib.sha256(content).hexdigest()
