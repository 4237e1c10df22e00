# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded server's image keeps the contract of TensorFlow Serving's official one, as that one's Dockerfile states it."""

from __future__ import annotations

import re
import time

import numpy
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.client import GrpcClient, RestClient
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault


@pytest.fixture(scope="module")
def server(engine, serving_image, models):
    """The image run as hardened as an operator can: (container, gRPC port, REST port)."""
    container = engine.containers.run(
        serving_image,
        ["--rest_api_timeout_in_ms=7000", "--unheard_of=1"],
        detach=True,
        environment={"MODEL_NAME": "right"},
        user="65534:65534",
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        ports={8500: ("127.0.0.1", None), 8501: ("127.0.0.1", None)},
        volumes={str(models / "right"): {"bind": "/models/right", "mode": "ro"}},
    )
    container.reload()
    ports = [int(container.attrs["NetworkSettings"]["Ports"][f"{port}/tcp"][0]["HostPort"]) for port in (8500, 8501)]
    yield container, *ports
    container.remove(force=True, v=True)


def wait_until_served(client, container):
    end = time.monotonic() + 300
    while True:
        try:
            return client.status("right")
        except ServerFault:
            container.reload()
            assert container.status == "running" and time.monotonic() < end, container.logs(tail=30).decode(
                errors="replace"
            )
            time.sleep(0.2)


def test_it_states_what_the_official_image_states_and_that_it_is_another(serving_image):
    stated, labels = serving_image.attrs["Config"], serving_image.labels
    assert set(stated["ExposedPorts"]) == {"8500/tcp", "8501/tcp"}
    assert {"MODEL_BASE_PATH=/models", "MODEL_NAME=model"} <= set(stated["Env"])
    assert (stated["Entrypoint"], stated["Cmd"], stated["User"]) == (["/usr/bin/tf_serving_entrypoint.sh"], None, "")
    assert "not TensorFlow Serving" in labels["org.opencontainers.image.description"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", labels["org.opencontainers.image.version"])


def test_nothing_of_the_machine_that_made_it_is_in_it(engine, serving_image):
    shown = "cat /etc/pip.conf /root/.config/pip/pip.conf /root/.pip/pip.conf; ls /usr/local/share/ca-certificates; env"
    said = engine.containers.run(serving_image, ["-c", shown], entrypoint="sh", remove=True, stderr=False).decode()
    names = {line.partition("=")[0] for line in said.splitlines()}
    assert names == {
        "HOME",
        "HOSTNAME",
        "LANG",
        "MODEL_BASE_PATH",
        "MODEL_NAME",
        "PATH",
        "PWD",
        "TFSERVING_EMBEDDED_ADDRESS",
        "TMPDIR",
    }


def test_it_serves_without_root_capabilities_and_a_writable_disk(server):
    container, grpc_port, rest_port = server
    with GrpcClient("127.0.0.1", grpc_port) as client:
        (version,) = wait_until_served(client, container)
        assert (version["version"], version["state"]) == (1, "AVAILABLE")
        answer = client.predict("right", {"x": numpy.array([[1.0] * 4, [5.0] * 4], "float32")})
        assert answer["y"].tolist() == [[2.0] * 4, [10.0] * 4]
    with RestClient("127.0.0.1", rest_port) as client:
        assert client.predict("right", {"x": numpy.array([[1.0] * 4], "float32")})["y"].tolist() == [[2.0] * 4]
    said = container.logs().decode()
    assert "which is not TensorFlow Serving" in said
    assert "unknown argument: --unheard_of=1" in said


def test_process_1_is_a_shell_that_hands_no_signal_on(server):
    """So docker stop without an init waits for its whole grace period, as with the official image."""
    container, _grpc_port, _rest_port = server
    rows = {row[1]: row[7] for row in container.top(ps_args="-ef")["Processes"]}
    first = str(container.attrs["State"]["Pid"])
    assert "tf_serving_entrypoint.sh" in rows[first]
    assert any("tensorflow_model_server" in command and pid != first for pid, command in rows.items())


def test_it_names_itself_and_the_library(engine, serving_image):
    said = engine.containers.run(
        serving_image, ["--version"], entrypoint="tensorflow_model_server", remove=True
    ).decode()
    assert re.search(
        r"^TensorFlow ModelServer: the embedded server of tfserving.fleet .* which is not TensorFlow Serving$",
        said,
        re.MULTILINE,
    )
    assert re.search(r"^TensorFlow Library: 2\.21\.", said, re.MULTILINE)
