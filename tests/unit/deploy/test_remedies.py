# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remedies name what the user most probably meant."""

from __future__ import annotations

import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import expected_answers, host_resources
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import model_config, server_options


@pytest.mark.parametrize(
    "tag, release",
    [
        ("2.8.0-gpu", "2.8.0"),
        ("v2.8.0-gpu", "2.8.0"),
        ("2.8-gpu", "2.8.4"),
        ("2.20.0-devel-gpu", "2.20.0"),
        ("2.15.1-mkl", "2.15.1"),
        ("2.8.0-rc1", "2.8.0"),
        ("tensorflow/serving:2.8.0-gpu", "2.8.0"),
        ("registry:5000/tensorflow/serving:2.11.0-gpu", "2.11.0"),
        ("2.99.0-gpu", "2.99.0"),
        ("latest-gpu", questions.releases()[-1]),
        ("2.8.0_gpu", "2.8.0"),
        ("2.8.0gpu", "2.8.0"),
        ("gpu-2.8.0", "2.8.0"),
        ("tf2.8.0-gpu", "2.8.0"),
        (" 2.8.0-gpu ", "2.8.0"),
        ("r2.12", "2.12.2"),
        ("2.8.x", "2.8.4"),
        ("2.8.*", "2.8.4"),
        (">=2.8,<2.9", "2.8.4"),
        ("2.8.0.0", "2.8.0"),
        ("docker.io/tensorflow/serving:2.8.4", "2.8.4"),
        ("10.0.0.1:5000/tensorflow/serving:2.8.4-gpu", "2.8.4"),
        ("2.8.4@sha256:0123456789abcdef", "2.8.4"),
        ("bitnami/tensorflow-serving:2.18.0-debian-12-r1", "2.18.0"),
        ("emacski/tensorflow-serving:2.6.0-linux_arm64", "2.6.0"),
        ("tensorflow/serving:nightly-gpu", questions.releases()[-1]),
        ("tensorflow/serving", questions.releases()[-1]),
        ("stable", questions.releases()[-1]),
    ],
)
def test_the_tag_of_an_image_as_release_is_answered_with_its_release(tag, release):
    """The tags of https://hub.docker.com/r/tensorflow/serving: RELEASE, RELEASE-gpu, RELEASE-devel, RELEASE-devel-gpu and RELEASE-mkl."""
    for ask in (questions.parse, questions.nearest):
        with pytest.raises(FleetError) as caught:
            ask(tag)
        assert f"Set tfserving_version: {release}." in caught.value.remedy and (
            "tfserving_gpu" in caught.value.remedy
        ) == ("gpu" in tag)
    assert questions.nearest(questions.instead_of(tag)) == release


@pytest.mark.parametrize(
    "there, path, remedy",
    [
        (["fraud/1/saved_model.pb"], "fraud/1", "Did you mean '{}/fraud'?"),
        (["fraud/1/saved_model.pb", "fraud/2/saved_model.pb"], "fraud/2/", "Did you mean '{}/fraud'?"),
        (["fraud/1/saved_model.pb"], "", "Did you mean '{}/fraud'?"),
        (["fraud/saved_model.pb"], "fraud", "a folder with a number as its name, such as {}/fraud/1"),
        (["fraud/saved_model/3/saved_model.pb"], "fraud", "Did you mean '{}/fraud/saved_model'?"),
        (["fraud/1/saved_model.pb"], "fraud/7", "Did you mean '{}/fraud'?"),
        (["fraud/x"], "fraud", "Publish the model there"),
        (["fraud/1/saved_model.pb"], "fraud/1/saved_model.pb", "Did you mean '{}/fraud'?"),
        (["fraud/1/saved_model.pb", "fraud/1/variables/x"], "fraud/1/variables/", "Did you mean '{}/fraud'?"),
        (["fraud/1/saved_model.pb"], "fraud/1/assets", "Did you mean '{}/fraud'?"),
        (["fraud/v1/saved_model.pb"], "fraud", "Rename {}/fraud/v1 to a number"),
        (["fraud/1.0/saved_model.pb"], "fraud", "Rename {}/fraud/1.0 to a number"),
        (["fraud/2024-05-01/model.tflite"], "fraud", "Rename {}/fraud/2024-05-01 to a number"),
        (["fraud/1/saved_model.pb"], "fruad", "Did you mean fraud? {} contains it."),
        (["fraud/1/saved_model.pb"], "Fraud/", "Did you mean fraud? {} contains it."),
        (["2024/other/1/saved_model.pb"], "2024/fraud", "Publish the model there"),
    ],
)
def test_a_base_path_without_versions_names_the_one_that_was_meant(there, path, remedy, tmp_path):
    for name in there:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(FleetError) as caught:
        expected_answers.versions(model_config.model("m", f"{tmp_path}/{path}"))
    assert remedy.format(tmp_path) in caught.value.remedy


def test_no_name_of_a_server_says_which_variable_to_set():
    with pytest.raises(FleetError, match="the name of the server is missing") as caught:
        server_options.check_name("")
    assert "tfs_server_name" in caught.value.remedy


def test_a_port_in_use_says_which_process_has_it():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); print('listens', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as other:
        try:
            other.stdout.readline()
            wanted = SimpleNamespace(name="digits", address="127.0.0.1", grpc_port=port, rest_port=None)
            with pytest.raises(
                FleetError,
                match=rf"port {port} of 127.0.0.1 cannot be used: Address already in use by process {other.pid} \(python",
            ):
                host_resources.refuse_used_ports(wanted, own=())
            with pytest.raises(FleetError, match="by container web"):
                host_resources.refuse_used_ports(wanted, own=(), container_on={port: "container web"}.get)
            with pytest.raises(FleetError) as caught:
                host_resources.refuse_used_ports(wanted, own=(), server_on=lambda _address, _port: "shop")
            assert "tfs_server_name" in caught.value.remedy and "shop" in caught.value.remedy
            with pytest.raises(FleetError) as caught:
                host_resources.refuse_used_ports(wanted, own=(), server_on=lambda _address, _port: "digits")
            assert "tfs_server_name" not in caught.value.remedy, "it has this name already"
        finally:
            other.kill()
