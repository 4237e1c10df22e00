# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the module batching_parameters in front of real models, read by a server that batches with TensorFlow's own scheduler."""

from __future__ import annotations

import os
import re
import shutil

import pytest

pytest.importorskip("grpc")
numpy = pytest.importorskip("numpy")

from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.client import GrpcClient
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault
from ansible_collections.tfserving.fleet.tests.support import modules

HOST = {"cpu": {"usable": 2.0}, "gpus": [], "memory": {"usable_mib": 8000}}


def write(models, *names, **options):
    """The result of the module for the named models, of which it is told the directories alone."""
    return modules.call(
        "batching_parameters", models=[{"name": name, "directory": str(models / name)} for name in names], **options
    )


@pytest.fixture(name="models")
def writable_models(model_directory, tmp_path):
    """A folder with two models of x [n, 1]."""
    for name in ("half_plus_two", "half_plus_three"):
        shutil.copytree(model_directory / name, tmp_path / "models" / name)
    return tmp_path / "models"


def client_of(serve, models, *flags):
    """A client of a server of both models."""
    server = serve(
        "--enable_batching", *flags, models={name: models / name for name in ("half_plus_two", "half_plus_three")}
    ).ready()
    return GrpcClient("127.0.0.1", server.grpc_port, 60)


def outcome(client, model, rows):
    """The rows of the answer, or the code and text of the fault."""
    try:
        answer = client.predict(model, {"x": numpy.ones((rows, 1), "float32")})
    except ServerFault as fault:
        return str(fault)
    return len(answer["y"])


def test_real_signatures_are_read_and_judged(model_directory, tmp_path):
    path = str(tmp_path / "batching.pbtxt")
    for name, words in (
        ("scalar_input", "models: scalar_input: signature serving_default, input x: it is a scalar"),
        ("fixed", "models: fixed: signature serving_default, input x: its first dimension is always 1"),
        ("ragged", "models: ragged: signature serving_default, input x: shape [?, ?] can vary"),
        ("scalar", "models: scalar: signature serving_default, output mean: it is a scalar"),
    ):
        done = write(model_directory, "half_plus_two", name, path=path, max_batch_size=8)
        assert done["failed"] and words in done["msg"] and not os.path.exists(path), done
    done = write(
        model_directory, "half_plus_two", "ragged", path=path, max_batch_size=8, pad_variable_length_inputs=True
    )
    assert done["changed"] and "ignore padding" in done["warnings"][0]["event"]["msg"]


def test_start_values_serve_requests_up_to_their_limit_and_no_larger(models, tmp_path, serve):
    done = write(models, "half_plus_two", "half_plus_three", path=str(tmp_path / "batching.pbtxt"), capabilities=HOST)
    assert done["changed"] and not done.get("warnings")
    limit = done["parameters"]["max_batch_size"]
    with client_of(serve, models, f"--batching_parameters_file={done['path']}") as client:
        assert [outcome(client, "half_plus_two", rows) for rows in (1, 33, limit)] == [1, 33, limit]
        assert f"Task size {limit + 1} is larger than maximum input batch size {limit}" in outcome(
            client, "half_plus_three", limit + 1
        )


def test_a_file_in_the_version_batches_its_model_alone(models, serve):
    done = write(models, "half_plus_two", per_model=True, max_batch_size=3)
    assert done["changed"] and not done.get("warnings"), "the module is told of one model and looks at no other"
    with client_of(serve, models, "--enable_per_model_batching_parameters") as client:
        assert outcome(client, "half_plus_two", 3) == 3
        assert re.search("Task size 4 is larger than maximum input batch size 3", outcome(client, "half_plus_two", 4))
        assert outcome(client, "half_plus_three", 4000) == 4000, "it is not batched"
