# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of a server that every backend checks."""

from __future__ import annotations

import types

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import server_options

# Which variable of tfs_server writes the file or port that a plan's flag of this name stands for: roles/tfs_server, argument_specs.
BY_ROLE = {"port", "rest_api_port", "ssl_config_file", "tensorflow_session_config_file", "monitoring_config_file"}


def test_the_flags_that_the_role_takes_over():
    assert set(server_options.BY_ROLE) == BY_ROLE


@pytest.mark.parametrize("name", ["a", "A9", "a_b.c-d", "0", "n" * 64])
def test_a_name_of_a_server(name):
    assert server_options.check_name(name) == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "the name of the server is missing"),
        (None, "tfs_server_name"),
        *((name, repr(name)) for name in ("-a", ".a", "_a", "a b", "a/b", "n" * 65)),
    ],
)
def test_what_is_no_name_of_a_server(name, words):
    with pytest.raises(FleetError, match="^name: ") as fault:
        server_options.check_name(name)
    assert words in str(fault.value)


@pytest.mark.parametrize("variables", [{"A": "b"}, {"_a9": 1}, {"A": True}, {"A": None}, {"A": ""}, {"A": 1.5}])
def test_variables_that_a_process_has(variables):
    server_options.check_environment(variables)


@pytest.mark.parametrize(
    ("variables", "where"),
    [
        *(({name: "b"}, "environment") for name in ("9a", "a-b", "", 9, "a=b")),
        *(({"A": value}, "environment.A") for value in ([], {}, "a\0b")),
    ],
)
def test_variables_that_no_process_has(variables, where):
    with pytest.raises(FleetError) as fault:
        server_options.check_environment(variables)
    assert fault.value.where == where
    with pytest.raises(FleetError, match=r"^elsewhere"):
        server_options.check_environment(variables, "elsewhere")


def test_a_cpu_set_names_cpus():
    for right in (None, "0", "0-3,8"):
        server_options.check_cpu_set(right)
    for wrong in ("", "x", "3-1", ","):
        with pytest.raises(FleetError, match="^cpu_set: "):
            server_options.check_cpu_set(wrong)


@pytest.mark.parametrize(
    ("grpc", "rest", "where"),
    [
        (0, 0, None),
        (8500, 8501, None),
        (65535, None, None),
        (8500, 0, None),
        (65536, 0, "grpc_port"),
        (-1, 0, "grpc_port"),
        (1, 65536, "rest_port"),
        (1, -1, "rest_port"),
        (1, 1, "rest_port"),
    ],
)
def test_ports(grpc, rest, where):
    given = types.SimpleNamespace(grpc_port=grpc, rest_port=rest)
    if where is None:
        server_options.check_ports(given)
    else:
        with pytest.raises(FleetError) as fault:
            server_options.check_ports(given)
        assert fault.value.where == where
        if grpc == rest:
            assert "1 is also the gRPC port" in fault.value.what and "0 for a free one" in fault.value.remedy


# The option of model_server that sets the flag, by the module's documentation.
OWN = {
    "port": "grpc_port",
    "rest_api_port": "rest_port",
    "model_name": "models",
    "model_base_path": "models",
    "model_config_file": "models",
    "batching_parameters_file": "batching_parameters_file",
}
OF_CONTAINERS = {
    "monitoring_config_file": "monitoring",
    "tensorflow_session_config_file": "session_config_file",
    "ssl_config_file": "ssl_config_file",
    "grpc_socket_path": "grpc_socket_directory",
}


def test_a_flag_that_an_option_sets_is_refused_with_the_option():
    assert server_options.EMBEDDED_OWN_FLAGS == OWN and server_options.DOCKER_OWN_FLAGS == {**OWN, **OF_CONTAINERS}
    for flag, option in server_options.DOCKER_OWN_FLAGS.items():
        with pytest.raises(FleetError, match=rf"^flags\.{flag}: .*Set {option} instead"):
            server_options.refuse_own_flag(flag, server_options.DOCKER_OWN_FLAGS)
    server_options.refuse_own_flag("num_load_threads", OWN)


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("version", True, "the server prints text and exits"),
        (
            "num_load_thread",
            1,
            "there is no such flag, and the server would silently ignore it; did you mean num_load_threads",
        ),
        ("num_load_threads", "x", "is not of type int"),
        ("use_tflite_model", True, "Use prefer_tflite_model instead"),
    ],
)
def test_a_flag_that_does_not_serve(flag, value, words):
    with pytest.raises(FleetError, match=rf"^flags\.{flag}: ") as fault:
        server_options.check_flag(flag, value, "2.20.0")
    assert words in str(fault.value)
    server_options.check_flag("num_load_threads", 1, "2.20.0")


def test_a_value_as_the_server_reads_it():
    assert [server_options.spelt(value) for value in (True, False, 1, 0.5, "a")] == ["true", "false", "1", "0.5", "a"]
