# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server shall be, and what is done to get there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded import specification
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import derived_flags, model_config
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import ServingConfiguration

GOOD = ServingConfiguration(
    name="digits",
    backend="embedded",
    address="127.0.0.1",
    grpc_port=8500,
    rest_port=8501,
    python="/usr/bin/python3",
    program="0123",
    models=(model_config.model("digits", "/srv/models/digits"),),
    flags={"grpc_max_threads": 64, "prefer_tflite_model": True},
    environment={"TF_ENABLE_ONEDNN_OPTS": "0"},
    cpu_set="0-1",
    batching_parameters_file="/etc/batching.pbtxt",
    files={"batching.pbtxt": "4567"},
    idle_exit_s=60.0,
)


def test_it_is_good_and_survives_its_way_through_a_file():
    assert specification.check(GOOD) is GOOD
    assert ServingConfiguration.from_dict(GOOD.to_dict()) == GOOD


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("grpc_port", 8600),
        ("rest_port", None),
        ("python", "/opt/python"),
        ("program", "89"),
        ("models", (model_config.model("digits", "/srv/other"),)),
        ("flags", {}),
        ("environment", {}),
        ("cpu_set", None),
        ("files", {"batching.pbtxt": "89"}),
        ("idle_exit_s", None),
    ],
)
def test_any_change_is_another_server(field, value):
    other = replace(GOOD, **{field: value})
    assert derived_flags.digest(other) != derived_flags.digest(GOOD)
    decision = specification.decide_started(other, GOOD, running=True)
    assert decision.changed and decision.before == GOOD.to_dict() and decision.after == other.to_dict()
    assert decision.actions == ("stop the server digits, whose configuration changed", "start the server digits")


def test_decisions():
    assert not specification.decide_started(GOOD, GOOD, running=True).changed
    for found in (None, GOOD):
        decision = specification.decide_started(GOOD, found, running=False)
        assert decision.changed and decision.before == {} and decision.actions == ("start the server digits",)
    assert not specification.decide_absent("digits", None, running=False, remains=False).changed
    assert specification.decide_absent("digits", GOOD, running=False, remains=True).actions == (
        "remove the files of the server digits",
    )
    assert specification.decide_absent("digits", GOOD, running=True, remains=True).actions == (
        "stop the server digits",
        "remove the files of the server digits",
    )


def test_command_and_environment():
    assert specification.command(GOOD, "/state/main.pyz", "/state/models.pbtxt") == [
        "/usr/bin/python3",
        "/state/main.pyz",
        "--port=8500",
        "--rest_api_port=8501",
        "--model_config_file=/state/models.pbtxt",
        "--batching_parameters_file=/etc/batching.pbtxt",
        "--max_num_load_retries=0",
        "--num_load_threads=2",
        "--enable_profiler=false",
        "--enable_batching=true",
        "--grpc_max_threads=64",
        "--prefer_tflite_model=true",
    ]
    assert specification.environment(GOOD) == {
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "TFSERVING_EMBEDDED_ADDRESS": "127.0.0.1",
        "TFSERVING_EMBEDDED_IDLE_EXIT_S": "60.0",
        "TFSERVING_EMBEDDED_RELOAD_BELOW": '["/srv/models/digits"]',
    }
    assert "--batching_parameters_file=/state/copy" in specification.command(GOOD, "p", "m", "/state/copy")
    plain = replace(GOOD, rest_port=None, batching_parameters_file=None, files={}, flags={}, idle_exit_s=None)
    assert specification.command(plain, "p", "m")[2:] == [
        "--port=8500",
        "--rest_api_port=0",
        "--model_config_file=m",
        "--max_num_load_retries=0",
        "--num_load_threads=2",
        "--enable_profiler=false",
    ]


def test_several_models_come_from_a_file():
    models = (
        model_config.model("digits", "/srv/models/digits"),
        model_config.model("letters", "/srv/models/letters", {"specific": [1]}, {"stable": 1}),
    )
    several = specification.check(replace(GOOD, models=models, batching_parameters_file=None, files={}, flags={}))
    assert specification.command(several, "p", "/state/models.pbtxt")[2:] == [
        "--port=8500",
        "--rest_api_port=8501",
        "--model_config_file=/state/models.pbtxt",
        "--max_num_load_retries=0",
        "--num_load_threads=2",
        "--enable_profiler=false",
        "--allow_version_labels_for_unavailable_models=true",
    ]
    assert ServingConfiguration.from_dict(several.to_dict()) == several
    with pytest.raises(FleetError, match="listed twice"):
        specification.check(replace(GOOD, models=models[:1] * 2))
    with pytest.raises(FleetError, match="not an absolute path"):
        specification.check(replace(GOOD, models=(*models, model_config.model("far", "s3://there/m"))))


@pytest.mark.parametrize(
    ("field", "value", "where", "words"),
    [
        ("name", "../etc", "name", "allowed: 1 to 64"),
        ("name", "", "name", "the name of the server is missing"),
        ("name", "a" * 65, "name", "allowed"),
        ("name", ".hidden", "name", "allowed"),
        ("models", (model_config.model("a/b", "/m"),), "model_name", "without '/'"),
        ("models", (model_config.model("a:b", "/m"),), "model_name", "without"),
        ("models", (model_config.model("a", "models"),), "model_base_path", "absolute"),
        ("grpc_port", -1, "grpc_port", "0 to 65535"),
        ("grpc_port", 65536, "grpc_port", "0 to 65535"),
        ("rest_port", 70000, "rest_port", "0 to 65535"),
        ("rest_port", 8500, "rest_port", "also the gRPC port"),
        ("flags", {"enable_baching": True}, "flags.enable_baching", "did you mean enable_batching"),
        ("flags", {"use_tflite_model": True}, "flags.use_tflite_model", "Use prefer_tflite_model instead"),
        ("flags", {"grpc_max_threads": "many"}, "flags.grpc_max_threads", "not of type int"),
        ("flags", {"enable_batching": "yes"}, "flags.enable_batching", "type bool"),
        ("flags", {"rest_api_num_threads": 1}, "flags.rest_api_num_threads", "never answers"),
        ("flags", {"port": 1}, "flags.port", "grpc_port instead"),
        ("flags", {"model_name": "x"}, "flags.model_name", "models instead"),
        ("flags", {"version": True}, "flags.version", "prints text and exits"),
        ("flags", {"platform_config_file": "/x"}, "flags.platform_config_file", "does not support this flag"),
        ("flags", {"enable_batching": False}, "flags.enable_batching", "contradicts"),
        ("environment", {"A B": "1"}, "environment", "not a valid name"),
        ("cpu_set", "", "cpu_set", "0-3,8"),
        ("cpu_set", "3-1", "cpu_set", "not a range"),
        ("cpu_set", "a", "cpu_set", "not a CPU number"),
        ("cpu_set", "0-99999999", "cpu_set", "not a CPU number"),
        ("idle_exit_s", 0.5, "idle_exit_s", "1 s or more"),
    ],
)
def test_what_no_server_can_have(field, value, where, words):
    with pytest.raises(FleetError) as caught:
        specification.check(replace(GOOD, **{field: value}))
    assert caught.value.where == where and words in str(caught.value) and "\n" not in str(caught.value)
