# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the embedded server serves and how that changes while it runs: reloads, a polled configuration, version policies, labels. Texts and codes are
those that a real TensorFlow Serving 2.20.0 was seen to answer."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import pytest

grpc = pytest.importorskip("grpc")
numpy = pytest.importorskip("numpy")
text_format = pytest.importorskip("google.protobuf.text_format")

from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import served_model
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import grpc_api, wire
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.client import GrpcClient, encode_tensor
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault


def entry(name, base, more=""):
    return f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" {more} }}\n'


def listed(*entries):
    return "model_config_list {\n" + "".join(entries) + "}\n"


def call(server, path, request, timeout_s=30):
    """(code, answer or text) of a call, with a connection of its own."""
    channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", options=[("grpc.use_local_subchannel_pool", 1)])
    try:
        return "OK", channel.unary_unary(path)(request.SerializeToString(), timeout=timeout_s)
    except grpc.RpcError as fault:
        return fault.code().name, fault.details()
    finally:
        channel.close()


def reload_request(text):
    request = wire.message("tensorflow.serving.ReloadConfigRequest")()
    text_format.Parse(text, request.config)
    return request


def reload(server, text, timeout_s=30):
    """(code, text) of a reload with the configuration in text form."""
    code, answer = call(server, grpc_api.RELOAD_CONFIG, reload_request(text), timeout_s)
    if code == "OK":
        assert answer == b"\x0a\x00"  # ReloadConfigResponse {1: StatusProto {}}, which is OK
        answer = ""
    return code, answer


def ask(server, model, version=None, label=None, timeout_s=30):
    """(code, number of the version that answered or text); all models here are half_plus_two."""
    request = wire.message("tensorflow.serving.PredictRequest")()
    request.model_spec.name = model
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    encode_tensor(numpy.ones((1, 1), "float32"), into=request.inputs["x"])
    code, answer = call(server, grpc_api.PREDICT, request, timeout_s)
    if code != "OK":
        return code, answer
    answer = wire.message("tensorflow.serving.PredictResponse").FromString(answer)
    assert list(answer.outputs["y"].float_val) == [2.5]
    return code, answer.model_spec.version.value


def rest(server, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    connection.request("POST" if body else "GET", path, json.dumps(body) if body else None)
    response = connection.getresponse()
    content = json.loads(response.read())
    connection.close()
    return response.status, content


def states(server, model):
    with GrpcClient("127.0.0.1", server.grpc_port, 10) as client:
        return {one["version"]: one["state"] for one in client.status(model)}


def until(expected, look, timeout_s=120):
    end = time.monotonic() + timeout_s
    while (seen := look()) != expected and time.monotonic() < end:
        time.sleep(0.05)
    assert seen == expected


@pytest.fixture(scope="module", name="folder")
def models_folder(model_directory, tmp_path_factory):
    """h/1, h/2, h/3; other/1, whose outputs differ; broken/1."""
    folder = tmp_path_factory.mktemp("models")
    for number in (1, 2, 3):
        shutil.copytree(model_directory / "half_plus_two" / "1", folder / "h" / str(number))
    shutil.copytree(model_directory / "dense", folder / "other")
    (folder / "broken" / "1").mkdir(parents=True)
    (folder / "broken" / "1" / "saved_model.pb").write_bytes(b"\x0a\xffno model")
    return folder


def rewrite(path, text):
    """Put the file in place as a whole."""
    staged = path.with_suffix(".new")
    staged.write_text(text, encoding="utf-8")
    os.replace(staged, path)


ONE = "model_version_policy { specific { versions: 1 } }"
LABELS = "model_version_policy { specific { versions: 1 versions: 2 } } "


@pytest.fixture(scope="module", name="servers")
def servers_of_this_file(serve, folder, tmp_path_factory):
    """reloaded: by flags. stuck: the same, for what never returns. polled: by a file that is polled. unlabelled: the same file, which may not be."""
    config = tmp_path_factory.mktemp("configuration") / "models.config"
    rewrite(
        config,
        listed(
            entry(
                "h",
                folder / "h",
                LABELS + 'version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }',
            )
        ),
    )
    started = {
        "reloaded": serve("--model_name=m", f"--model_base_path={folder}/h", "--max_num_load_retries=0"),
        "stuck": serve("--model_name=m", f"--model_base_path={folder}/h", "--grpc_max_threads=3"),
        "polled": serve(
            f"--model_config_file={config}",
            "--model_config_file_poll_wait_seconds=1",
            "--allow_version_labels_for_unavailable_models=true",
            "--max_num_load_retries=0",
        ),
        "unlabelled": serve(f"--model_config_file={config}"),
    }
    for name in ("reloaded", "stuck", "polled"):
        started[name].ready()
    return dict(started, config=config)


# --- Reloads


def test_a_reload_adds_and_removes_whole_models(servers, folder):
    server = servers["reloaded"]
    both = listed(entry("m", f"{folder}/h"), entry("h", f"{folder}/h", ONE))
    assert ask(server, "m") == ("OK", 3)
    assert reload(server, both) == ("OK", "") and ask(server, "h") == ("OK", 1), (
        "it returns when the new model is there"
    )
    assert reload(server, both) == ("OK", "")
    assert reload(server, listed(entry("m", f"{folder}/h"))) == ("OK", "")
    until(("NOT_FOUND", "Servable not found for request: Latest(h)"), lambda: ask(server, "h"))
    until({1: "END"}, lambda: states(server, "h"))
    assert reload(server, both) == ("OK", "") and ask(server, "h") == ("OK", 1), "what was removed can come again"
    assert reload(server, "model_config_list {}") == ("OK", "")
    until(["NOT_FOUND"] * 2, lambda: [ask(server, model)[0] for model in ("m", "h")])
    assert reload(server, listed(entry("m", f"{folder}/h"))) == ("OK", "") and ask(server, "m") == ("OK", 3)


def test_a_reload_with_a_path_that_none_can_have_ends_no_poll(serve, folder, tmp_path):
    shutil.copytree(folder / "h" / "1", tmp_path / "h" / "1")
    server = serve("--model_name=m", f"--model_base_path={tmp_path}/h", "--max_num_load_retries=0").ready()
    assert (
        reload(server, listed(entry("m", f"{tmp_path}/h"), entry("nowhere", "/a\\000b")), timeout_s=2)[0]
        == "DEADLINE_EXCEEDED"
    ), "it waits, see below"
    for number in (2, 3):
        shutil.copytree(folder / "h" / "1", tmp_path / str(number))
        os.rename(tmp_path / str(number), tmp_path / "h" / str(number))
        until(("OK", number), lambda: ask(server, "m"))


def test_a_reload_changes_which_versions_are_served(servers, folder):
    server = servers["reloaded"]
    for policy, expected in (
        ("all {}", {1, 2, 3}),
        ("latest { num_versions: 2 }", {2, 3}),
        ("specific { versions: 1 versions: 3 }", {1, 3}),
    ):
        assert reload(server, listed(entry("m", f"{folder}/h", f"model_version_policy {{ {policy} }}"))) == ("OK", "")
        until(expected, lambda: {number for number, state in states(server, "m").items() if state == "AVAILABLE"})
        assert ask(server, "m") == ("OK", 3) and all(ask(server, "m", number) == ("OK", number) for number in expected)
        assert rest(server, "/v1/models/m/versions/3:predict", {"instances": [1.0]}) == (200, {"predictions": [2.5]})
    assert ask(server, "m", 2) == ("NOT_FOUND", "Servable not found for request: Specific(m, 2)")
    assert reload(server, listed(entry("m", f"{folder}/h", "model_version_policy { specific { versions: 99 } }"))) == (
        "OK",
        "",
    )
    server.wait_for(
        "Version 99 of servable m, which was requested to be served as a 'specific' version in the servable's version policy, was not found"
    )
    until(("NOT_FOUND", "Servable not found for request: Latest(m)"), lambda: ask(server, "m"))
    assert reload(server, listed(entry("m", f"{folder}/h"))) == ("OK", "")


def test_requests_in_flight_survive_the_removal_of_their_model(serve, model_directory):
    server = serve("--model_name=d", f"--model_base_path={model_directory}/double", "--grpc_max_threads=32").ready()

    def double():
        with GrpcClient("127.0.0.1", server.grpc_port, 30) as client:
            return client.predict("d", {"x": numpy.ones((1, 4), "float32")})["y"].tolist()

    assert double() == [[2] * 4]
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(double) for _request in range(16)]
        wait(asked, return_when=FIRST_COMPLETED)
        assert reload(server, "model_config_list {}") == ("OK", "")
        answers = [one.exception() or one.result() for one in asked]
    assert [[2] * 4] in answers
    assert all(
        answer == [[2] * 4] or answer.message == "Servable not found for request: Latest(d)" for answer in answers
    ), answers


@pytest.mark.parametrize(
    ("config", "code", "text"),
    [
        (
            "",
            "INVALID_ARGUMENT",
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported",
        ),
        (
            listed(entry("m", "models/m")),
            "INVALID_ARGUMENT",
            "Expected model m to have an absolute path or URI; got base_path()=models/m",
        ),
        (
            listed(entry("m", "/a"), entry("m", "/b")),
            "INVALID_ARGUMENT",
            "Illegal to list model m multiple times in config list",
        ),
        (
            listed('config { name: "m" base_path: "/a" model_platform: "onnx" }'),
            "INVALID_ARGUMENT",
            "Model m requests unsupported platform onnx",
        ),
        (
            listed('config { name: "n" base_path: "/a" model_platform: "onnx" }'),
            "INVALID_ARGUMENT",
            "Model n requests unsupported platform onnx",
        ),
        (
            listed(entry("m", "FOLDER/h", 'version_labels { key: "canary" value: 7 }')),
            "FAILED_PRECONDITION",
            "Request to assign label to version 7 of model m, which is not currently available for inference",
        ),
        (
            listed(entry("m", "FOLDER/h"), entry("broken", "FOLDER/broken")),
            "UNKNOWN",
            "1 model(s) did not become available: {{{name: broken version: 1} due to error: DATA_LOSS: Can't parse FOLDER/broken/1/saved_model.pb as binary "
            "proto}, }",
        ),
    ],
)
def test_reloads_that_are_refused_leave_what_serves(servers, folder, config, code, text):
    server = servers["reloaded"]
    assert reload(server, config.replace("FOLDER", str(folder))) == (code, text.replace("FOLDER", str(folder)))
    assert ask(server, "m") == ("OK", 3)
    assert reload(server, listed(entry("m", f"{folder}/h"))) == ("OK", "")


def test_another_base_path_counts_only_with_another_version(servers, folder):
    """Trap 45."""
    server = servers["reloaded"]
    assert reload(server, listed(entry("m", f"{folder}/h", ONE))) == ("OK", "")
    until({1}, lambda: {number for number, state in states(server, "m").items() if state == "AVAILABLE"})
    assert reload(server, listed(entry("m", f"{folder}/other", ONE))) == ("OK", "")
    time.sleep(2.5)
    assert ask(server, "m") == ("OK", 1), "the old files are served"
    assert reload(server, listed(entry("m", f"{folder}/h"))) == ("OK", "")


def test_a_reload_with_a_missing_path_waits_for_as_long_as_its_client(servers, folder, tmp_path):
    """Trap 44: TensorFlow Serving waits on when the client is gone, and in the end refuses every call. The list is applied all the same when the path
    appears."""
    server, wanted = servers["stuck"], listed(entry("m", f"{folder}/h"), entry("late", tmp_path / "late"))
    for _time in range(4):  # More than the server has threads.
        assert reload(server, wanted, timeout_s=1)[0] == "DEADLINE_EXCEEDED"
    assert ask(server, "m") == ("OK", 3)
    assert reload(server, listed(entry("m", f"{folder}/h"))) == ("OK", "")
    assert reload(server, wanted, timeout_s=1)[0] == "DEADLINE_EXCEEDED"
    shutil.copytree(folder / "h" / "1", tmp_path / "staged" / "1")
    os.rename(tmp_path / "staged", tmp_path / "late")
    until(("OK", 1), lambda: ask(server, "late"))
    assert reload(server, wanted) == ("OK", "")


def test_an_entry_without_a_platform_makes_the_server_refuse_every_later_reload(serve, folder):
    """Trap 59, as recorded with TensorFlow Serving 2.20.0."""
    server = serve("--model_name=m", f"--model_base_path={folder}/h", "--max_num_load_retries=0").ready()
    refusal = (
        "INVALID_ARGUMENT",
        "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, model name is q",
    )
    good = listed(entry("m", f"{folder}/h", ONE))
    assert reload(server, listed(f'config {{ name: "q" base_path: "{folder}/h" }}')) == refusal
    assert [reload(server, good), reload(server, good)] == [refusal, refusal] and ask(server, "m") == ("OK", 3)
    where = {"address": "127.0.0.1", "port": server.grpc_port, "secure": False, "deadline_s": 20}
    with pytest.raises(ServerFault) as caught:
        served_model.Served({"model": "m", **where}).take(reload_request(good).SerializeToString())
    assert caught.value.remedy == "Restart the server."


# --- Loads that fail, retries: what a TensorFlow Serving 2.20.0 did


def started_with(serve, base, *flags):
    return serve(f"--model_config_file={base}.config", "--file_system_poll_wait_seconds=1", *flags)


@pytest.fixture(name="half_broken")
def folder_with_a_broken_version(folder, tmp_path):
    """m/1 is good, m/2 an empty folder; beside it the configuration that serves both."""
    shutil.copytree(folder / "h" / "1", tmp_path / "m" / "1")
    (tmp_path / "m" / "2").mkdir()
    rewrite(tmp_path / "m.config", listed(entry("m", tmp_path / "m", "model_version_policy { all {} }")))
    return tmp_path / "m"


def test_without_retries_one_broken_version_ends_the_server_at_its_start(serve, half_broken):
    """Trap 57."""
    server = started_with(serve, half_broken, "--max_num_load_retries=0")
    assert server.ended() == 255
    assert (
        "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: {{{name: m version: 2} due to error: NOT_FOUND: "
        in server.words()
    )


def seconds_behind_a_broken_version(server, folder, base, broken, good):
    """Let a broken version be retried, publish a good one, and return how long it took to be served."""
    (base / str(broken)).mkdir()
    until("LOADING", lambda: states(server, "m").get(broken))
    began = time.monotonic()
    shutil.copytree(folder / "h" / "1", base.parent / "staged")
    os.rename(base.parent / "staged", base / str(good))
    until(("OK", good), lambda: ask(server, "m", good))
    return time.monotonic() - began


def test_retries_hold_up_the_start_and_all_other_loads(serve, folder, half_broken):
    """Trap 58: the server listens once they are over; a good version waits behind another's retries, unless more threads load."""
    retried, began = ("--max_num_load_retries=2", "--load_retry_interval_micros=2000000"), time.monotonic()
    server = started_with(serve, half_broken, *retried).ready()
    assert time.monotonic() - began > 4 and states(server, "m") == {1: "AVAILABLE", 2: "END"}
    behind = seconds_behind_a_broken_version(server, folder, half_broken, 3, 4)
    server.stop()
    for number in (2, 3):
        (half_broken / str(number)).rmdir()
    server = started_with(serve, half_broken, *retried, "--num_load_threads=2").ready()
    assert behind > seconds_behind_a_broken_version(server, folder, half_broken, 5, 6) + 1


# --- A configuration that is polled, labels


def by_label(server, label):
    answers = [
        rest(server, f"/v1/models/h/labels/{label}:predict", {"instances": [1.0]})[0],
        *ask(server, "h", label=label),
    ]
    code, metadata = rest(server, f"/v1/models/h/labels/{label}/metadata")
    return [*answers, metadata["model_spec"]["version"] if code == 200 else code]


def test_labels_of_the_first_configuration_need_a_flag(servers):
    assert servers["unlabelled"].ended() == 255
    assert re.search(
        r"Failed to start server\. Error: FAILED_PRECONDITION: Request to assign label to version [12] of model h, which is not currently "
        r"available for inference\n",
        servers["unlabelled"].words(),
    )


def test_labels(servers, folder):
    server, config = servers["polled"], servers["config"]
    assert by_label(server, "stable") == [200, "OK", 1, "1"] and by_label(server, "canary") == [200, "OK", 2, "2"]
    assert ask(server, "h", label="nope") == ("INVALID_ARGUMENT", "Unrecognized servable version label: nope")
    assert rest(server, "/v1/models/h/labels/nope:predict", {"instances": [1.0]}) == (
        400,
        {"error": "Unrecognized servable version label: nope"},
    )
    assert len(rest(server, "/v1/models/h/labels/stable")[1]["model_version_status"]) == 2, (
        "the status does not look at the label"
    )

    def write(versions, stable=None, canary=None):
        labels = "".join(
            f'version_labels {{ key: "{key}" value: {value} }} '
            for key, value in (("stable", stable), ("canary", canary))
            if value
        )
        chosen = " ".join(f"versions: {number}" for number in versions)
        rewrite(
            config, listed(entry("h", f"{folder}/h", f"model_version_policy {{ specific {{ {chosen} }} }} {labels}"))
        )

    write([1, 2], stable=2, canary=1)
    until([("OK", 2), ("OK", 1)], lambda: [ask(server, "h", label=label) for label in ("stable", "canary")])
    write([1, 2, 3], stable=3, canary=1)  # Trap 46: moved in the same change as its version is added
    server.wait_for(
        "PollFilesystemAndReloadConfig failed to ReloadConfig: Request to assign label to version 3 of model h, which is not currently available"
    )
    assert ask(server, "h", label="stable") == ("OK", 2) and 3 not in states(server, "h")
    write([1, 2, 3], stable=2, canary=1)
    until(("OK", 3), lambda: ask(server, "h"))
    write([1, 2, 3], stable=3)
    until(("OK", 3), lambda: ask(server, "h", label="stable"))
    until(("INVALID_ARGUMENT", "Unrecognized servable version label: canary"), lambda: ask(server, "h", label="canary"))
    write([1, 2, 3], stable=3, canary=9)  # The flag helps a label that the model does not have yet.
    until(("NOT_FOUND", "Servable not found for request: Specific(h, 9)"), lambda: ask(server, "h", label="canary"))
    write([1, 2, 3], stable=3)
    until(("INVALID_ARGUMENT", "Unrecognized servable version label: canary"), lambda: ask(server, "h", label="canary"))


def test_the_polled_file_wins_and_may_break(servers, folder):
    server, config = servers["polled"], servers["config"]
    kept = config.read_text(encoding="utf-8")
    assert reload(server, listed(entry("h", f"{folder}/h"), entry("extra", f"{folder}/h", ONE))) == ("OK", "")
    until(("NOT_FOUND", "Servable not found for request: Latest(extra)"), lambda: ask(server, "extra"))  # Trap 47
    rewrite(config, "nonsense")
    server.wait_for(f"Failed to read ModelServerConfig file: Invalid protobuf file: '{config}'")
    assert ask(server, "h", label="stable") == ("OK", 3)
    rewrite(config, kept.replace("}\n}", f"}}\n{entry('broken', folder / 'broken')}}}"))

    def state_of_broken():
        code, told = rest(server, "/v1/models/broken")
        return code, told.get("model_version_status", [{}])[0].get("state")

    until((200, "END"), state_of_broken)
    assert ask(server, "h", label="stable") == ("OK", 3), "a broken model harms no other"
    rewrite(config, kept)


# --- Models that go or break under the server


def test_models_that_vanish_under_the_server(serve, model_directory, tmp_path):
    base = tmp_path / "model"
    shutil.copytree(model_directory / "half_plus_two" / "1", base / "1")
    server = serve("--model_name=m", f"--model_base_path={base}", "--max_num_load_retries=0").ready()
    shutil.rmtree(base / "1" / "variables")
    (base / "1" / "saved_model.pb").write_bytes(b"")
    time.sleep(1.5)
    assert ask(server, "m") == ("OK", 1), "what is loaded serves without its files"
    os.rename(base, tmp_path / "gone")
    server.wait_for(f"Could not find base path {base} for servable m with error NOT_FOUND")
    assert ask(server, "m") == ("OK", 1)
    base.mkdir()
    until("NOT_FOUND", lambda: ask(server, "m")[0])
    assert rest(server, "/v1/models/m")[1]["model_version_status"][0]["state"] == "END"
    shutil.copytree(model_directory / "half_plus_two" / "1", base / "staged")
    os.rename(base / "staged", base / "2")
    until(("OK", 2), lambda: ask(server, "m"))
    with pytest.raises(ServerFault), GrpcClient("127.0.0.1", server.grpc_port) as client:
        client.predict("m", {"x": numpy.ones((1, 1))})
