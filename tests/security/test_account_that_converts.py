# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As whom TensorFlow runs where root converts or loads a model: files that models and metric functions write have an owner (stat(2))."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.tests.security.conftest import NOBODY, snapshot
from ansible_collections.tfserving.fleet.tests.support import made, modules

pytestmark = pytest.mark.usefixtures("two_accounts")
# Who runs it, and who runs the server that it finds.
METRIC = r"""
import glob, os

def metric(outputs, labels):
    found = [os.getuid()]
    for path in glob.glob("/proc/[0-9]*"):
        try:
            if b"--model_name=plain\0" in open(path + "/cmdline", "rb").read():
                found.append(os.stat(path).st_uid)
        except OSError:
            pass
    with open("FOUND", "a") as stream:
        stream.write(repr(found) + "\n")
    return 1.0
"""


@pytest.fixture
def models(open_path):
    """A folder with models that every account can read."""
    folder = made.by_program(Path(__file__).with_name("untrusted_models.py"))
    shutil.copytree(folder, open_path / "sources")
    subprocess.run(["chmod", "-R", "u=rwX,go=rX", open_path / "sources"], check=True)
    return open_path / "sources"


def owned_by_root(folder):
    """Whether all below it is root's, and written by root alone."""
    return all(uid == 0 and not mode & 0o022 for mode, uid, _content in snapshot(folder).values())


def test_model_that_is_loaded(models, python, written):
    loaded = modules.call("saved_model_info", path=models / "in_signature", load=True, python=python, trusted=True)
    assert loaded["saved_model"]["loaded"]["survives"] and not loaded.get("warnings"), loaded
    assert written.stat().st_uid == NOBODY


@pytest.mark.parametrize(("account", "uid"), [(None, NOBODY), ("1234", 1234)])
def test_warm_up_requests(models, python, written, open_path, account, uid):
    result = modules.call(
        "model_conversion",
        source=models / "in_signature",
        destination=open_path / "models" / "m" / "saved_model",
        batch_sizes=[1],
        python=python,
        progress=open_path / "progress" / "conversion.progress",
        trusted=True,
        convert_user=account,
    )
    assert result["accepted"] and result["warmup_batch_sizes"] == [1] and not result.get("warnings"), result
    assert written.stat().st_uid == uid
    version = Path(result["path"])
    assert (version / "assets.extra" / "tf_serving_warmup_requests").stat().st_size > 0
    assert owned_by_root(open_path / "models") and stat.S_IMODE(version.stat().st_mode) == 0o755
    assert sorted(os.listdir(version.parent)) == ["1"]


def test_conversion_judged_by_a_server(models, python, open_path):
    function, found = open_path / "metric.py", open_path / "found"
    function.write_text(METRIC.replace("FOUND", str(found)), encoding="utf-8")
    found.touch()
    found.chmod(0o666)
    numpy = pytest.importorskip("numpy")
    numpy.savez(open_path / "samples.npz", **{"inputs.x": numpy.ones((4, 2), "float32"), "labels": numpy.zeros(4)})
    result = modules.call(
        "model_conversion",
        source=models / "plain",
        destination=open_path / "models" / "plain" / "tflite_dynamic_range",
        form="tflite_dynamic_range",
        samples=open_path / "samples.npz",
        metric="function",
        metric_function=function,
        through_server=True,
        python=python,
    )
    assert result["accepted"] and result["gates"]["served"] and not result.get("warnings"), result
    uids = [json.loads(line) for line in found.read_text(encoding="utf-8").splitlines()]
    assert {uid for line in uids for uid in line} == {NOBODY}
    assert max(len(line) for line in uids) == 2, "the server was not seen"
    assert owned_by_root(open_path / "models")


HOSTILE = """#!/usr/bin/python3
import json, os, sys
request = json.load(open(sys.argv[2]))
result = {"tensorflow": "2.20.0"}
if request["action"] != "release":
    result = {"accepted": True, "reason": "", "lowest_runtime": None, "warmup_batch_sizes": [], "gates": None}
    folder = os.path.join(request["staged"], "assets.extra")
    os.mkdir(folder)
    for name in FILES:
        os.symlink(SECRET, os.path.join(folder, name))
    for path in (sys.argv[1], sys.argv[2], os.path.dirname(os.path.dirname(sys.argv[3]))):
        try:
            os.rename(path, path + "-moved")
            result["reason"] = path
        except OSError:
            pass
if RESULT == "link":
    os.symlink(SECRET, sys.argv[3])
else:
    json.dump({"result": result} if RESULT == "right" else RESULT, open(sys.argv[3], "w"))
"""


@pytest.mark.parametrize(
    ("form", "answered", "files"),
    [
        ("none", "link", []),
        ("none", [], []),
        ("none", {"error": 5}, []),
        ("none", "right", ["tf_serving_warmup_requests"]),
        ("tflite_float16", "right", ["x"]),
    ],
)
def test_converter_that_was_taken_over(models, open_path, secret, form, answered, files):
    secret.parent.chmod(0o755)  # Its account can name the file, and not read it.
    python = open_path / "hostile"
    text = HOSTILE.replace("FILES", repr(files)).replace("SECRET", repr(str(secret)))
    python.write_text(text.replace("RESULT", repr(answered)), encoding="utf-8")
    python.chmod(0o755)
    before = snapshot(secret.parent)
    result = modules.call(
        "model_conversion",
        source=models / "plain",
        destination=open_path / "models" / "plain" / "saved_model",
        form=form,
        batch_sizes=[1],
        accept_unjudged=True,
        python=python,
    )
    assert result["failed"] and "\n" not in result["msg"] and "yescrypt" not in json.dumps(result), result
    assert "exception" not in result and "root:" not in json.dumps(result), result
    assert snapshot(secret.parent) == before and not list((open_path / "models").rglob("1"))


@pytest.mark.parametrize("hidden", ["the source", "the destination", "the temporary files"])
def test_without_an_account_that_can(models, python, open_path, hidden):
    (open_path / "models").mkdir()
    (open_path / "temporary").mkdir()
    path = {"the source": models, "the destination": open_path / "models"}.get(hidden, open_path / "temporary")
    path.chmod(0o700)
    options = {
        "source": models / "plain",
        "destination": open_path / "models" / "m" / "saved_model",
        "batch_sizes": [1],
        "python": python,
        "environment": {"TMPDIR": str(open_path / "temporary")},
    }
    for check in (True, False):
        refused = modules.call("model_conversion", **options, check=check, convert_user="nobody")
        assert refused["failed"] and f"convert_user: user {NOBODY} cannot read {path}" in refused["msg"], refused
        assert "\n" not in refused["msg"] and not list((open_path / "models").iterdir())
    (warning,) = modules.call("model_conversion", **options, check=True)["warnings"]
    assert all(words in str(warning) for words in ("as root", "convert_user", str(path))), warning
    for chosen in ("root", "0:0"):
        assert not modules.call("model_conversion", **options, check=True, convert_user=chosen).get("warnings")


@pytest.mark.parametrize("chosen", ["no-such-account", "nobody:no-such-group", ":", "-1"])
def test_account_that_does_not_exist(models, python, open_path, chosen):
    loading = {"path": models / "plain", "load": True, "python": python}
    converting = {
        "source": models / "plain",
        "destination": open_path / "m" / "saved_model",
        "batch_sizes": [1],
        "python": python,
    }
    for refused in (
        modules.call("saved_model_info", **loading, convert_user=chosen),
        modules.call("model_conversion", **converting, convert_user=chosen, check=True),
    ):
        assert refused["failed"] and refused["msg"].startswith("convert_user: ") and "\n" not in refused["msg"], refused
