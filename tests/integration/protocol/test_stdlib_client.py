# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking a server with Python's standard library alone: the same answers as gRPC's own client gets from the same server."""

from __future__ import annotations

import socket
import threading

import pytest

numpy = pytest.importorskip("numpy")
pytest.importorskip("grpc")

from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import stdlib_client
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.client import GrpcClient
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault

REQUESTS = {
    "half_plus_two": {"x": numpy.array([[1], [2]], "float32")},
    "strings": {"s": numpy.array([b"a", b"bc"], object)},
    "two": {"a": numpy.ones((3, 2), "float32"), "b": numpy.zeros((3, 2), "float32")},
    "int64": {"x": numpy.array([2**40, -1])},
    "half": {"x": numpy.array([0.5, -3], "float16")},
    "float64": {"x": numpy.array([0.1])},
    "kilobytes": {"x": numpy.arange(1024 * 300, dtype="float32").reshape(300, 1024)},
}  # larger than HTTP/2's windows


@pytest.fixture(scope="module")
def server(serve, model_directory):
    return serve(models={name: model_directory / name for name in REQUESTS}).ready()


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    directory = tmp_path_factory.mktemp("archives")

    def save(inputs):
        path = directory / "samples.npz"
        numpy.savez(
            path,
            **{
                f"inputs.{name}": array.astype("S") if array.dtype == object else array
                for name, array in inputs.items()
            },
        )
        return path

    return save


@pytest.mark.parametrize("model", sorted(REQUESTS))
def test_the_same_answers(server, archive, model):
    asked = stdlib_client.Server("127.0.0.1", server.grpc_port)
    with GrpcClient("127.0.0.1", server.grpc_port) as client:
        wanted, signatures = client.predict(model, REQUESTS[model]), client.metadata(model)
    answered = asked.predict(model, stdlib_client.arrays(archive(REQUESTS[model]), "inputs."))
    assert {name: (tensor.shape, tensor.values()) for name, tensor in answered.items()} == {
        name: (array.shape, array.ravel().tolist()) for name, array in wanted.items()
    }
    found = asked.signatures(model)["serving_default"]["inputs"]
    assert found == {
        name: {key: one[key] for key in ("dtype", "shape")}
        for name, one in signatures["serving_default"]["inputs"].items()
    }
    assert [(one["version"], one["state"]) for one in asked.status(model)] == [(1, 30)]


def test_refusals(server):
    asked = stdlib_client.Server("127.0.0.1", server.grpc_port)
    with pytest.raises(ServerFault, match="NOT_FOUND.*Servable not found") as caught:
        asked.predict("nobody", {})
    assert caught.value.code == "NOT_FOUND"
    with pytest.raises(ServerFault, match="UNAVAILABLE"):
        stdlib_client.Server("127.0.0.1", 1).status("m")
    with pytest.raises(ServerFault, match="UNAVAILABLE"):
        stdlib_client.Server("127.0.0.1", server.rest_port).status("m")


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ("000001 01 05 00000001 8d", "UNIMPLEMENTED"),  # HEADERS, END_STREAM: status 404, no gRPC status
        ("000001 01 04 00000001 8d 000004 00 01 00000001 70616765", "UNAVAILABLE"),  # the same with a page behind it
    ],
)
def test_whoever_is_no_grpc_server_knows_nothing_of_models(frames, code):
    """RFC 9113's frames; RFC 7541 has status 404 at 13. gRPC's own table says what the status stands for."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            connection, _peer = listener.accept()
            with connection:
                connection.sendall(bytes.fromhex("000000 04 00 00000000" + frames))
                while connection.recv(1 << 16):
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ServerFault, match="no gRPC server answers at this address") as caught:
            stdlib_client.Server("127.0.0.1", listener.getsockname()[1], 5).status("m")
        thread.join()
    assert caught.value.code == code
