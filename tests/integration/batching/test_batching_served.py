# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the module batching_parameters in front of real models, read by a server that batches with TensorFlow's own scheduler."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("grpc")
numpy = pytest.importorskip("numpy")

from ansible_collections.tfserving.fleet.plugins.module_utils._core import program
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.client import GrpcClient
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault

HOST = {"cpu": {"usable": 2.0}, "gpus": [], "memory": {"usable_mib": 8000}}
EXPORT = """
import sys, tensorflow as tf

def save(name, function, *shape):
    module = tf.Module()
    module.run = tf.function(function, input_signature=[tf.TensorSpec(shape, tf.float32, name="x")])
    tf.saved_model.save(module, f"{sys.argv[1]}/{name}/saved_model/1", signatures=module.run)

save("rows", lambda x: {"y": 2 * x}, None, 2)
save("others", lambda x: {"y": 3 * x}, None, 2)
save("scalar", lambda x: {"y": 2 * x})
save("fixed", lambda x: {"y": 2 * x}, 1, 4)
save("ragged", lambda x: {"y": tf.reduce_sum(x, axis=1)}, None, None)
save("mean", lambda x: {"y": tf.reduce_mean(x)}, None, 2)
"""


def quiet(**more):
    return dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1", **more)


@pytest.fixture(scope="module", name="models")
def real_models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, "-c", EXPORT, str(directory)], check=True, timeout=240, capture_output=True, env=quiet())
    return directory


def write(models, *names, **options):
    """The result of the module for the named models, of which it is told the directories alone."""
    listed = [{"name": name, "directory": str(models / name / "saved_model")} for name in names]
    request = {"ANSIBLE_MODULE_ARGS": dict(options, models=listed, _ansible_remote_tmp="/tmp", _ansible_keep_remote_files=False)}
    module = "ansible_collections.tfserving.fleet.plugins.modules.batching_parameters"
    done = subprocess.run([sys.executable, "-m", module], input=json.dumps(request), text=True, capture_output=True, check=False, timeout=60, cwd="/")
    return json.loads(done.stdout)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(name="serve")
def embedded_server(models, tmp_path):
    """serve(*flags): a client of a server of the models rows and others."""
    started = []

    def start(*flags):
        config, log, port = tmp_path / "models.config", tmp_path / "log", free_port()
        config.write_text("model_config_list {" + "".join(
            f'config {{ name: "{name}" base_path: "{models}/{name}/saved_model" model_platform: "tensorflow" }}' for name in ("rows", "others")) + "}")
        command = [sys.executable, program.install("_embedded.server.main", str(tmp_path)), f"--port={port}", f"--model_config_file={config}", *flags]
        with open(log, "wb") as output:
            started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=quiet()))
        end = time.monotonic() + 240
        while "Entering the event loop" not in log.read_text():
            assert time.monotonic() < end and started[-1].poll() is None, log.read_text()
            time.sleep(0.1)
        return GrpcClient("127.0.0.1", port, 60)

    yield start
    for process in started:
        process.send_signal(signal.SIGKILL)
        process.wait(20)


def outcome(client, model, rows):
    """The rows of the answer, or the code and text of the fault."""
    try:
        answer = client.predict(model, {"x": numpy.ones((rows, 2), "float32")})
    except ServerFault as fault:
        return str(fault)
    return len(answer["y"])


def test_real_signatures_are_read_and_judged(models, tmp_path):
    path = str(tmp_path / "batching.pbtxt")
    for name, words in (("scalar", "models: scalar: signature serving_default, input x: is a scalar"),
                        ("fixed", "models: fixed: signature serving_default, input x: has a first dimension of exactly 1"),
                        ("ragged", "models: ragged: signature serving_default, input x: shape [?, ?] varies"),
                        ("mean", "models: mean: signature serving_default, output y: is a scalar")):
        done = write(models, "rows", name, path=path, max_batch_size=8)
        assert done["failed"] and words in done["msg"] and not os.path.exists(path), done
    done = write(models, "rows", "ragged", path=path, max_batch_size=8, pad_variable_length_inputs=True)
    assert done["changed"] and "ignore padding" in done["warnings"][0]["event"]["msg"]


def test_start_values_serve_requests_up_to_their_limit_and_no_larger(models, tmp_path, serve):
    done = write(models, "rows", "others", path=str(tmp_path / "batching.pbtxt"), capabilities=HOST)
    assert done["changed"] and not done.get("warnings")
    limit = done["parameters"]["max_batch_size"]
    client = serve("--enable_batching", f"--batching_parameters_file={done['path']}")
    assert [outcome(client, "rows", rows) for rows in (1, 33, limit)] == [1, 33, limit]
    assert f"Task size {limit + 1} is larger than maximum input batch size {limit}" in outcome(client, "others", limit + 1)


def test_a_file_in_the_version_batches_its_model_alone(models, serve):
    done = write(models, "rows", per_model=True, max_batch_size=3)
    assert done["changed"] and any("others/saved_model/1" in warning["event"]["msg"] for warning in done["warnings"])
    client = serve("--enable_batching", "--enable_per_model_batching_parameters")
    assert outcome(client, "rows", 3) == 3
    assert re.search("Task size 4 is larger than maximum input batch size 3", outcome(client, "rows", 4))
    assert outcome(client, "others", 4000) == 4000, "as the warning said, it is not batched"
