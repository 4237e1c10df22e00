# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What decides around a build: preflight, progress, who builds, labels; and the hands that need no engine."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._image import (
    archives,
    assignment,
    bazel_cache,
    build_progress,
    preflight,
    recipe,
    source_tree,
    sources,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._release import table
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import image_labels

WANTED = {"jobs": None, "memory_per_job_mib": 2048, "memory_reserve_mib": 4096, "disk_mib": 40960}


def made(level):
    return recipe.recipe("2.20.0", level, table.LEVEL_OPTIONS[level])


def test_preflight_lowers_jobs_and_refuses_with_the_numbers():
    plenty = {"cpus": 16, "memory_mib": 65536, "disk_free_mib": 99999}
    assert preflight.jobs(plenty, WANTED) == (16, [])
    assert preflight.jobs(plenty, dict(WANTED, jobs=4)) == (4, [])
    running, notes = preflight.jobs(dict(plenty, memory_mib=16384), WANTED)
    assert running == 6 and "6 jobs instead of 16" in notes[0]
    with pytest.raises(FleetError, match="needs 6144 MiB of memory .* 5000 MiB are available"):
        preflight.jobs(dict(plenty, memory_mib=5000), WANTED)
    with pytest.raises(FleetError, match="needs 40960 MiB of disk space; 100 MiB are free"):
        preflight.jobs(dict(plenty, disk_free_mib=100), WANTED)
    assert [preflight.fewer(running) for running in (16, 3, 1)] == [8, 1, None]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("gcc: internal compiler error: Killed (program cc1plus)", 1),
        ("g++: fatal error: Killed signal terminated program cc1plus", 1),
        ("clang: error: unable to execute command: Killed", 1),
        ("collect2: fatal error: ld terminated with signal 9 [Killed]", 1),
        ("Server terminated abruptly (error code: 14, error message: 'Socket closed')", 37),
        ("", 137),
    ],
)
def test_running_out_of_memory_is_known(line, status):
    assert preflight.out_of_memory(["[1 / 2] Compiling", line], status)


def test_other_failures_are_not_taken_for_memory():
    assert not preflight.out_of_memory(
        ["fatal error: numpy/arrayobject.h: No such file or directory", "Build did NOT complete successfully"], 1
    )


def test_progress_counts_as_bazel_does_and_tells_the_time_left():
    progress = build_progress.Progress("x")
    assert progress.line("Step 3/9 : RUN bazel build", 0) == "x: step 3 of 9: RUN bazel build"
    assert progress.line("Step 4/9 : LABEL a=b", 0) is None
    assert progress.line("\x1b[32m[1,000 / 5,000]\x1b[0m 2 actions running", 1) is None
    assert (
        progress.line("[1,500 / 5,000] Compiling a.cc; 3s processwrapper-sandbox", 101)
        == "x: step 3 of 9: 30 %, 1500 of 5000 actions, about 12 min left"
    )
    assert progress.line("[1,501 / 5,000] Compiling b.cc", 102) is None
    assert progress.line("no count", 500) is None
    assert progress.line("[5,000 / 5,000] done", 800).startswith("x: step 3 of 9: 100 %")
    assert [build_progress.duration(seconds) for seconds in (20, 600, 8000)] == ["20 s", "10 min", "2 h 13 min"]


def test_each_missing_image_is_built_once_and_builders_share_the_work():
    v2, v3, v4 = (made(level) for level in ("x86-64-v2", "x86-64-v3", "x86-64-v4"))
    hosts = {
        f"web-{number}": {"recipe": wanted, "present": False} for number, wanted in enumerate([v2, v2, v3, v3, v4, v4])
    }
    hosts["old"] = {"recipe": None, "present": False}
    missing = assignment.missing(hosts)
    assert sorted(missing) == sorted(wanted["image"] for wanted in (v2, v3, v4))
    builders = {"b1": {"level": "x86-64-v4", "images": []}, "b2": {"level": "x86-64-v3", "images": []}}
    work = assignment.assign(missing, builders)
    assert sorted(len(each) for each in work.values()) == [1, 2]
    assert assignment.assign(missing, dict(reversed(builders.items()))) == work
    assert assignment.assign({}, {}) == {}
    assert v4 in assignment.assign(missing, dict(builders, b2={"level": "x86-64-v3", "images": [v4["image"]]}))["b2"]
    for name in (v4["image"], v4["image"] + "-unstarted"):
        assert v4 in assignment.assign(missing, dict(builders, b2={"level": "x86-64-v3", "images": [name]}))["b2"]
    for host in hosts.values():
        host["present"] = True
    assert assignment.missing(hosts) == {}
    with pytest.raises(FleetError, match="cannot build 3 images: no builder is set"):
        assignment.assign(missing, {})
    with pytest.raises(
        FleetError,
        match=r"cannot build the image '.*serving:2.20.0-x86-64-v3-\w+': none of the builders \(b1, b2\) is reachable in this play",
    ):
        assignment.assign({v3["image"]: v3}, {}, ["b2", "b1"])


def test_labels_tell_before_anything_starts_whether_an_image_fits():
    told = image_labels.of(made("x86-64-v3"))
    assert (
        image_labels.read(told)["cpu_flags"] == made("x86-64-v3")["cpu_flags"] and image_labels.read({"a": "b"}) is None
    )
    fits = frozenset(made("x86-64-v3")["cpu_flags"])
    assert image_labels.refusal(told, "x86_64", fits) is None
    assert "needs fma, which this CPU lacks" in image_labels.refusal(told, "x86_64", fits - {"fma"})
    assert "this host is aarch64" in image_labels.refusal(told, "aarch64", fits)
    gpu = image_labels.of(recipe.recipe("2.20.0", "x86-64-v3", table.LEVEL_OPTIONS["x86-64-v3"], "gpu", [8]))
    assert image_labels.refusal(gpu, "x86_64", fits, [(8, 6), (9, 0), (12, 0)]) is None
    assert "compute capability 7.5" in image_labels.refusal(gpu, "x86_64", fits, [(7, 5)])
    assert image_labels.lies(told, ["avx512f", "fma"]) == ["fma"]


def test_the_trees_id_is_gits(tmp_path):
    (tmp_path / "a.b").mkdir()
    for name, content in (("a.b/x", "1"), ("a", "2"), ("z", "3"), (".hidden", "4")):
        (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "z").chmod(0o755)
    (tmp_path / "link").symlink_to("a")
    git = ["git", "-C", str(tmp_path)]
    for command in (["init", "-q"], ["add", "--all"]):
        subprocess.run([*git, *command], check=True)
    tree = subprocess.run([*git, "write-tree"], check=True, capture_output=True, text=True).stdout.strip()
    entries = {
        ".hidden": ("100644", "4"),
        "a": ("100644", "2"),
        "a.b/x": ("100644", "1"),
        "link": ("120000", "a"),
        "z": ("100755", "3"),
    }
    assert (
        source_tree.tree_id(
            {name: (mode, source_tree.blob_id(text.encode())) for name, (mode, text) in entries.items()}
        )
        == tree
    )
    with tarfile.open(tmp_path / "s.tar.gz", "w:gz") as packed:
        for name in entries:
            packed.add(tmp_path / name, f"top/{name}")
    wanted = {"sources": {"archive": str(tmp_path / "s.tar.gz"), "commit": "c", "tree": tree}}
    assert sources.Sources(wanted, str(tmp_path / "kept")).text("a") == "2"
    with pytest.raises(FleetError, match="the checksum of their files is"):
        sources.Sources({"sources": dict(wanted["sources"], tree="0" * 40)}, str(tmp_path / "kept"))
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_the_cache_keeps_only_what_is_what_it_is_called(tmp_path):
    content, digest = b"object", hashlib.sha256(b"object").hexdigest()

    def put(url, data):
        return urllib.request.urlopen(urllib.request.Request(url, data=data, method="PUT")).status

    with bazel_cache.serving(str(tmp_path), 1) as url:
        assert put(f"{url}/cas/{digest}", content) == 200
        assert urllib.request.urlopen(f"{url}/cas/{digest}").read() == content
        for bad in (f"/cas/{'0' * 64}", "/cas/../../etc/passwd"):
            with pytest.raises(urllib.error.HTTPError, match="400"):
                put(url + bad, content)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{url}/ac/{digest}")
    with bazel_cache.serving(str(tmp_path), 1) as url:
        assert urllib.request.urlopen(f"{url}/cas/{digest}").read() == content
    with bazel_cache.serving(str(tmp_path), 0) as url, pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{url}/cas/{digest}")
    (tmp_path / "tmpkilled").write_bytes(content)  # what a killed run was about to keep
    with bazel_cache.serving(str(tmp_path), 1) as url:
        assert not (tmp_path / "tmpkilled").exists()
        shutil.rmtree(tmp_path)
        with pytest.raises(urllib.error.HTTPError, match="507"):
            put(f"{url}/cas/{digest}", content)


def test_an_archive_is_whole_or_refused(tmp_path):
    content = [bytes([number]) * (5 << 20) for number in range(8)]
    manifest = archives.write(
        str(tmp_path / "a"), {"image": "i", "id": "sha256:1", "labels": {}, "started": True}, iter(content)
    )
    assert len(manifest["parts"]) == 3 and archives.read(str(tmp_path / "a")) == manifest
    assert b"".join(archives.stream(str(tmp_path / "a"), manifest)) == b"".join(content)
    part = tmp_path / "a" / "part-00001"
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(FleetError, match="part-00001: this part of the image is damaged"):
        archives.stream(str(tmp_path / "a"), manifest)
    part.unlink()
    with pytest.raises(FleetError, match="part-00001: this part of the image is missing"):
        archives.stream(str(tmp_path / "a"), manifest)

    def broken():
        yield content[0]
        raise OSError("the engine is gone")

    with pytest.raises(FleetError, match="cannot write the archive: the engine is gone"):
        archives.write(str(tmp_path / "b"), {}, broken())
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
