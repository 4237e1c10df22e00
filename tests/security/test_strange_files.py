# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What another account puts in the place of a file that this collection reads: pipes, which can wait without end (fifo(7)), files with holes, that grow, or are
larger than memory, links that multiply, and links to what that account cannot read."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core import shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import candidate_memory, container_files
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.container_files import Reader
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded import process
from ansible_collections.tfserving.fleet.plugins.module_utils._model import model_files
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.model_config import ModelConfiguration
from ansible_collections.tfserving.fleet.tests.security.conftest import NOBODY, give
from ansible_collections.tfserving.fleet.tests.support import made, modules

MODELS = Path(__file__).parents[1] / "integration" / "make_models.py"
TIB = 1 << 40
SOON_S = 60


@pytest.fixture(autouse=True)
def alarm():
    """What waits without end in this process ends, too."""

    def ring(_number, _frame):
        pytest.fail("it waits without end")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(2 * SOON_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def ends(module, **options):
    """The result of a module, which must end soon and in one line."""
    process = modules.start(module, **options)
    try:
        result = modules.result(process, SOON_S)
    finally:
        process.kill()
    assert "\n" not in result.get("msg", "") and "Traceback" not in str(result), result
    return result


@pytest.fixture
def server(tmp_path):
    """The options of model_server for a server that nothing starts here."""
    return {
        "name": "s",
        "model_name": "m",
        "model_base_path": str(tmp_path / "base"),
        "state_directory": tmp_path / "s",
    }


def pipe(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("option", ["batching_parameters_file", "session_config_file", "ssl_config_file"])
def test_pipe_as_a_file_of_a_container(server, tmp_path, option):
    engine = {"backend": "docker", "image": "i", "engine_socket": "/nonexistent.sock"}
    given = dict(modules_options(server, **engine), **{option: str(pipe(tmp_path / "pipe"))})
    with pytest.raises(FleetError, match="it is not a regular file"):
        container_files.contents(given, (), check_mode=False)


def modules_options(server, **more):
    """The options as a module has them: those that are not set are None."""
    names = ("batching", "batching_parameters_file", "session_config_file", "ssl_config_file", "monitoring")
    return {**dict.fromkeys(names), **server, **more}


@pytest.mark.parametrize("option", ["batching_parameters_file", "samples", "reference"])
def test_pipe_as_a_file_of_the_embedded_server(server, tmp_path, option):
    version = made.by_program(MODELS) / "half_plus_two"
    server.update(backend="embedded", embedded_allow_root=True, python=sys.executable, model_base_path=str(version))
    result = ends("model_server", **server, **{option: pipe(tmp_path / "pipe")})
    assert result["failed"] and "it is not a regular file" in result["msg"], result


def test_pipes_in_the_place_of_stored_files(tmp_path, version):
    refused = ends("batching_parameters", path=pipe(tmp_path / "batching.txt"), max_batch_size=8)
    assert refused["failed"] and "it is not a regular file" in refused["msg"]
    folder = tmp_path / "s" / "servers" / "s"
    pipe(folder / "server.pid")
    known = {"name": "s", "backend": "embedded", "state_directory": tmp_path / "s"}
    assert not ends("model_server", state="stopped", **known)["changed"]
    pipe(folder / "server.json")
    refused = ends("model_server_info", state_directory=tmp_path / "s", engine_socket="/nonexistent.sock")
    assert refused["failed"] and "it is not a regular file" in refused["msg"]
    pipe(tmp_path / "m" / ".saved_model.refused.json")
    assert not ends("model_conversion", source=version, destination=tmp_path / "m" / "saved_model").get("failed")


def test_pipe_in_a_served_version(tmp_path):
    pipe(tmp_path / "1" / "batching_params.pbtxt")
    assert container_files.wrong_batching(None, [ModelConfiguration("m", str(tmp_path))]) is None


@pytest.mark.parametrize(
    "name", ["variables/variables.data-00000-of-00001", "assets.extra/tf_serving_warmup_requests", "saved_model.pb"]
)
@pytest.mark.parametrize("beginning", [b"", b"\x08\x01"])
def test_sparse_file(version, tmp_path, name, beginning):
    path = version / name
    path.parent.mkdir(exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(beginning)
        try:
            stream.truncate(TIB)
        except OSError:
            pytest.skip("this file system has no files of 1 TiB")
    for result in (
        ends("model_version", path=tmp_path / "models", source=version, remote_src=True),
        ends("saved_model_info", path=version),
    ):
        assert result["failed"] and ("sparse" in result["msg"] or "larger than" in result["msg"]), result
    assert not list((tmp_path / "models").glob("[0-9]*"))


def test_file_with_some_holes_is_published(version, tmp_path):
    with open(version / "assets" / "table", "wb") as stream:
        stream.truncate(1 << 20)
    assert not ends("model_version", path=tmp_path / "models", source=version, remote_src=True).get("failed")
    assert (tmp_path / "models" / "1" / "assets" / "table").stat().st_size == 1 << 20


def test_links_that_multiply(version, tmp_path):
    """Twenty folders, each with two links to the next: 2**20 paths, none through more links than Linux follows."""
    for number in range(20):
        folder = version / "assets" / str(number)
        folder.mkdir()
        for name in "ab":
            (folder / name).symlink_to(f"../{number + 1}")
    (version / "assets" / "20").mkdir()
    result = ends("model_version", path=tmp_path / "models", source=version, remote_src=True)
    assert result["failed"] and "more than 10000 files and folders" in result["msg"], result
    result = ends("model_conversion", source=version, destination=tmp_path / "m" / "saved_model")
    assert result["failed"] and "more than 10000 files and folders" in result["msg"], result
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "1").symlink_to(version)
    model = ModelConfiguration("m", str(tmp_path / "base"))
    assert candidate_memory.fits([model])
    with pytest.raises(FleetError, match="more than 10000"):
        container_files.refuse_unreadable(model, [1], 1000, Reader(1000, 1000))


GROW = "import sys; stream = open(sys.argv[1], 'ab', 0); print(1, flush=True)\nwhile True: stream.write(b'x' * 4096)"


def test_file_that_grows(tmp_path):
    """Reading it and copying it end with what it had."""
    path, copied = tmp_path / "words.txt", tmp_path / "copied"
    path.write_bytes(b"x" * 4096)
    with subprocess.Popen([sys.executable, "-c", GROW, path], stdout=subprocess.PIPE) as writer:
        try:
            writer.stdout.readline()
            began = time.monotonic()
            model_files.file_digest(str(path))
            shared_folders.read(str(path), 1 << 40)
            shared_folders.copy_inside(str(tmp_path), "words.txt", str(copied), 4096)
            assert copied.stat().st_size == 4096
            shared_folders.copy_inside(str(tmp_path), "words.txt", str(copied))
            assert time.monotonic() - began < SOON_S
        finally:
            writer.kill()
            writer.wait()
    assert copied.stat().st_size <= path.stat().st_size


# --- As root


@pytest.mark.usefixtures("two_accounts")
def test_folder_in_which_every_account_replaces_files(version, tmp_path):
    """As /tmp would be without its sticky bit (chmod(1))."""
    models = tmp_path / "area" / "models"
    models.mkdir(parents=True)
    models.parent.chmod(0o777)
    for result in (
        ends("model_version", path=models, source=version, remote_src=True),
        ends("batching_parameters", path=models / "batching.txt", max_batch_size=8),
    ):
        assert result["failed"] and "every account can replace" in result["msg"] and "chmod" in result["msg"], result
    models.parent.chmod(0o1777)
    assert ends("model_version", path=models, source=version, remote_src=True)["published"]


@pytest.mark.usefixtures("two_accounts")
def test_link_of_another_account_as_a_text_file(tmp_path, secret):
    area = tmp_path / "area"
    area.mkdir()
    area.chmod(0o1777)
    (area / "batching.txt").symlink_to(secret)
    give(area / "batching.txt")
    result = ends("batching_parameters", path=area / "batching.txt", max_batch_size=8)
    assert result["failed"] and "belongs to nobody" in result["msg"] and "hash" not in str(result), result


@pytest.mark.usefixtures("two_accounts")
@pytest.mark.parametrize("how", ["a link", "a link above"])
def test_link_of_another_account_as_a_file_of_the_server(server, tmp_path, secret, how):
    """Root would copy what it leads to into a file that everybody reads."""
    area = tmp_path / "area"
    area.mkdir()
    given = area / "config" / "shadow"
    if how == "a link":
        given.parent.mkdir()
        given.symlink_to(secret)
    else:
        given.parent.symlink_to(secret.parent)
    give(area)
    with pytest.raises(FleetError, match="nobody"):
        container_files.contents(modules_options(server, batching_parameters_file=str(given)), (), check_mode=False)
    given.parent.unlink() if how == "a link above" else given.unlink()
    given.parent.mkdir(exist_ok=True)
    given.write_text("max_batch_size { value: 8 }")
    given.chmod(0o600)
    give(area)
    files = container_files.contents(modules_options(server, batching_parameters_file=str(given)), (), check_mode=False)
    assert b"max_batch_size" in files["batching.pbtxt"]


@pytest.mark.usefixtures("two_accounts")
def test_key_of_another_account(tmp_path):
    from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import secret_digests

    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o1777)
    (state / "secret.key").write_bytes(b"known to the attacker")
    give(state / "secret.key")
    with pytest.raises(FleetError, match="belongs to nobody"):
        secret_digests.of({"PIN": "123456"}, str(state), check_mode=False)


EXCHANGE = """
import os, sys
good, bad, path = sys.argv[1:]
print(1, flush=True)
while True:
    for target in (good, bad):
        os.symlink(target, path + "~")
        os.rename(path + "~", path)
"""


@pytest.mark.usefixtures("two_accounts")
def test_link_that_changes_all_the_time(version, secret, tmp_path, open_path):
    """A race between the look at a model's folder and its copy: root never publishes what lies outside."""
    (version / "assets" / "good.txt").write_text("good")
    source = open_path / "source"
    os.rename(version, source)
    give(source)
    words = [str(source / "assets" / "good.txt"), str(secret), str(source / "assets" / "words.txt")]
    with subprocess.Popen(
        ["/usr/bin/python3", "-I", "-c", EXCHANGE, *words], user=NOBODY, group=NOBODY, stdout=subprocess.PIPE
    ) as attacker:
        try:
            attacker.stdout.readline()
            for number in range(4):
                models = tmp_path / f"models{number}"
                result = ends("model_version", path=models, source=source, remote_src=True)
                for path in itertools.chain(models.rglob("*")):
                    with contextlib.suppress(OSError):
                        assert not path.is_file() or b"hash" not in path.read_bytes(), result
        finally:
            attacker.kill()
            attacker.wait()


def test_log_that_is_larger_than_memory(server, tmp_path):
    """A server can write to its log, and make it longer than any disk (ftruncate(2)); what happened stands at its end."""
    home = process.Home(str(tmp_path), "s")
    Path(home.log).parent.mkdir(parents=True)
    with open(home.log, "wb") as stream:
        stream.truncate(TIB)
        stream.seek(0, os.SEEK_END)
        stream.write(b"\nFailed to start server. Error: because\n")
    assert home.ended().lines == "Failed to start server. Error: because"


@pytest.mark.parametrize("content", ["[" * 100_000, '{"models": ' * 100_000, "{}", "null", "[]", '{"models": 5}'])
def test_stored_server_that_is_none(tmp_path, content):
    path = tmp_path / "s" / "servers" / "s" / "server.json"
    path.parent.mkdir(parents=True)
    path.write_text(content, encoding="utf-8")
    refused = ends("model_server_info", state_directory=tmp_path / "s", engine_socket="/nonexistent.sock")
    assert refused["failed"] and "cannot read the state of a server" in refused["msg"]
    assert not ends("model_server", name="s", backend="embedded", state="stopped", state_directory=tmp_path / "s")[
        "changed"
    ]
