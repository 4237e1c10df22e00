# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Traps of docs/traps.md, on a double of TensorFlow Serving 2.20.0 that hangs and aborts as a real one was seen to do.

What the double does is what was recorded of the real server: its words are quoted from there. The tests share one server and leave it as it was.
"""

from __future__ import annotations

import json
import re
import shutil
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import (
    grpc_api,
    model_config_list,
    stdlib_client,
    tfrecord,
    wire,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault
from ansible_collections.tfserving.fleet.tests.docker.forked import Module
from ansible_collections.tfserving.fleet.tests.docker.local_host import LocalHost, doubles
from ansible_collections.tfserving.fleet.tests.docker.testbed import images
from ansible_collections.tfserving.fleet.tests.docker.waiting import until

BATCHING = "max_batch_size { value: 8 }\nbatch_timeout_micros { value: 0 }\n"
OTHER_SHAPES = (
    "Tensors with name 'NAME' from different tasks have different shapes and padding is turned off. Set pad_variable_length_inputs to true, or ensure that "
    "all tensors with the same name have equal dimensions starting with the first dim."
)
NO_PLATFORM = "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, model name is q"
WARM_UP = "assets.extra/tf_serving_warmup_requests"
GARBAGE = b"no record, and longer than the head of one"


@pytest.fixture(scope="module", name="double")
def double_image(engine):
    """The reference of the double's image."""
    return images.double(engine).tags[0]


class Served:
    """A batched server of the newest two versions of a model, of which there is one. first: the result of its deployment."""

    def __init__(self, host, image):
        self.host, self._image = host, image
        self.first = self.deployed()
        self.server = self.first["server"]
        self.asked = stdlib_client.Server(self.server["address"], self.server["grpc_port"], 60)

    def options(self, batching=BATCHING, **options):
        """Those of model_server. batching: what stands in the file of batching parameters."""
        host = self.host
        file = host.state / f"batching-{len(batching)}.pbtxt"
        file.write_text(batching, encoding="utf-8")
        model = {"name": "m", "base_path": str(host.state / "models"), "version_policy": {"latest": 2}}
        model.update((key, host.options[key]) for key in ("samples", "reference"))
        left_out = dict.fromkeys(("model_name", "model_base_path", "samples", "reference"))
        return {
            **left_out,
            "models": [model],
            "image": self._image,
            "batching_parameters_file": str(file),
            **options,
        }

    def deployed(self, *batching, **options):
        return self.host.good(**self.options(*batching, **options))

    def refused(self, *batching, **options):
        """The message of a deployment that fails and leaves what serves."""
        began = self.host.container()["State"]["StartedAt"]
        said = self.host.refused(**self.options(*batching, **options))
        assert self.host.roles()["serving"] and self.host.container()["State"]["StartedAt"] == began
        assert doubles(self.server)
        return said

    def version(self, **options):
        """The result of model_version for this server; source: a folder on the host."""
        given = {"path": str(self.host.state / "models"), "remote_src": True, "ready_timeout_s": 300}
        return Module(
            "model_version", server={"port": self.server["grpc_port"], "model": "m"}, **{**given, **options}
        ).result()

    def withheld(self, **options):
        """The message of a version that is not published, or withdrawn."""
        result = self.version(**options)
        assert result.get("failed"), result
        assert [path.name for path in (self.host.state / "models").iterdir() if path.name.isdigit()] == ["1"]
        return result["msg"]

    def states(self):
        return states(self.asked)

    def restart(self):
        """As a reboot does, and wait until it answers."""
        self.host.engine.containers.get(self.host.name).restart(timeout=0)
        until(self._doubles)

    def _doubles(self):
        assert self.host.container()["RestartCount"] == 0, "it ended at its start"
        try:
            return doubles(self.server)
        except ServerFault:
            return False

    def reload(self, text):
        """Send a list of models, as anybody may who reaches the port."""
        self.asked.call(grpc_api.RELOAD_CONFIG, model_config_list.reload_request(model_config_list.parse(text, "test")))

    def predict(self, body):
        """(status, text) of the answer over REST."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.server['rest_port']}/v1/models/m:predict", json.dumps(body).encode()
        )
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as fault:
            return fault.code, fault.read().decode()


@pytest.fixture(scope="module")
def served(tmp_path_factory, engine, double, serving_image, models):
    host = LocalHost("double", tmp_path_factory.mktemp("double"), engine, serving_image, models)
    yield Served(host, double)
    host.remove()


def states(asked):
    """{version: name of its state} of the model, as a server says."""
    names = {number: name for name, number in grpc_api.STATES.items()}
    return {one["version"]: names[one["state"]] for one in asked.status("m")}


def warm_up(signature="serving_default"):
    """A warm-up file with a request of the model's."""
    logged = wire.message("tensorflow.serving.PredictionLog")()
    request = logged.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = "m", signature
    request.inputs["x"].dtype = 1
    for size in (1, 4):
        request.inputs["x"].tensor_shape.dim.add().size = size
    request.inputs["x"].float_val.extend([1.0] * 4)
    return tfrecord.frame(logged.SerializeToString())


def candidate(models, tmp_path, name="right", warm=None):
    """The folder of a version that a test may break."""
    folder = tmp_path / f"candidate-{len(list(tmp_path.iterdir()))}"
    shutil.copytree(models / name / "1", folder)
    if warm is not None:
        (folder / WARM_UP).parent.mkdir()
        (folder / WARM_UP).write_bytes(warm)
    return folder


def test_trap_54_a_batched_server_that_does_not_answer_requests_without_rows_is_deployed(served):
    """tests/bench/batched_deployment.py measures that this costs no time: at a real server the check waited for its deadline of 30 s."""
    assert doubles(served.server)
    words = "m is batched: a request without rows waits until a request of another client joins its batch"
    assert sum(words in str(text) for text in served.first["warnings"]) == 1


def test_trap_55_a_request_without_rows_waits_and_spoils_the_next_clients(served):
    """The plan's note says so (tests/unit/plan/test_traps.py)."""
    with ThreadPoolExecutor(1) as pool:
        lone = pool.submit(served.predict, {"inputs": []})
        answers = []
        until(lambda: answers.append(served.predict({"instances": [[1.0] * 4]})) or answers[-1][0] != 200)
        for status, text in (answers[-1], lone.result()):
            assert (status, re.sub("'[^']+'", "'NAME'", json.loads(text)["error"], count=1)) == (400, OTHER_SHAPES)
    assert doubles(served.server)


def test_trap_57_a_restart_after_each_kind_of_bad_version_starts_the_last_good_one(served, models, tmp_path):
    """As at a reboot. A server of several versions without retries ends at its start (exit status 255) where one of them is broken."""
    cut, lacking = candidate(models, tmp_path), candidate(models, tmp_path, "weighted")
    content = (cut / "saved_model.pb").read_bytes()
    (cut / "saved_model.pb").write_bytes(content[: len(content) // 2])
    shutil.rmtree(lacking / "variables")
    garbled = candidate(models, tmp_path, warm=GARBAGE)
    unknown = candidate(models, tmp_path, "again")
    content = (unknown / "saved_model.pb").read_bytes()
    (unknown / "saved_model.pb").write_bytes(content.replace(b"AddV2", b"AddV9"))
    for source, words in (
        (cut, "saved_model.pb"),
        (lacking, "files of its variables are missing"),
        (garbled, "its warm-up file: it is not a TFRecord file"),
        (unknown, "version 2 failed: Op type not registered"),
    ):
        assert words in served.withheld(source=str(source), version=2)
        served.restart()
        assert served.states() == {1: "AVAILABLE"}

    # Warm-up requests that replace those of a version that serves are read at the next start.
    good = candidate(models, tmp_path, "weighted")
    assert served.version(source=str(good), version=2)["served"] == [2, 1]
    (good / WARM_UP).parent.mkdir()
    (good / WARM_UP).write_bytes(GARBAGE)
    assert "its warm-up file: it is not a TFRecord file" in served.version(source=str(good), version=2)["msg"]
    served.restart()
    until(lambda: served.states() == {2: "AVAILABLE", 1: "AVAILABLE"})
    config = served.server["model_config_file"]
    with open(config, encoding="utf-8") as stream:
        assert model_config_list.served(stream.read(), config)["m"]["version_policy"] == {"latest": 2}
    shutil.rmtree(served.host.state / "models" / "2")
    until(lambda: served.states() == {2: "END", 1: "AVAILABLE"})


def test_trap_57_a_version_that_somebody_else_put_into_the_folder_is_warned_of(served):
    served.host.publish("broken", version="3")
    try:
        until(lambda: served.states().get(3) == "END")
        result = served.deployed()
    finally:
        shutil.rmtree(served.host.state / "models" / "3")
    (warning,) = [str(text) for text in result["warnings"] if "m: version 3 does not load" in str(text)]
    assert not result["changed"] and "ends at its next start" in warning and "saved_model.pb as binary proto" in warning
    assert not served.deployed().get("warnings") and doubles(served.server)


def test_trap_58_a_load_that_is_retried_holds_up_no_other(host, double):
    base = host.publish("right", "retried")
    model = {"name": "m", "base_path": base, "version_policy": {"all": True}}
    alone = {"image": double, "models": [model], **dict.fromkeys(("model_name", "model_base_path"))}
    server = host.good(**alone, flags={"max_num_load_retries": 5}, samples=None, reference=None)["server"]
    assert "--num_load_threads=2" in host.container()["Config"]["Cmd"]
    asked = stdlib_client.Server(server["address"], server["grpc_port"])

    host.publish("broken", "retried", "2")
    until(lambda: states(asked).get(2) == "LOADING")
    host.publish("again", "retried", "3")
    until(lambda: states(asked).get(3) == "AVAILABLE")
    assert states(asked)[2] == "LOADING", "its retries take five minutes"
    assert doubles(server)


def test_trap_59_a_poisoned_server_is_recognized_and_incomplete_lists_are_not_sent(served):
    config, labelled = served.server["model_config_file"], {"version": 1, "label": "stable"}
    with open(config, encoding="utf-8") as stream:
        text = stream.read()
    assert 'model_platform: "tensorflow"' in text
    incomplete = served.host.state / "incomplete.config"
    incomplete.write_text(text.replace('model_platform: "tensorflow"', ""), encoding="utf-8")
    said = served.withheld(config_file=str(incomplete), **labelled)
    assert "it lists the model m without model_platform" in said
    served.reload(text)

    with pytest.raises(ServerFault, match=re.escape(NO_PLATFORM)):
        served.reload('model_config_list { config { name: "q" base_path: "/q" } }')
    with pytest.raises(ServerFault, match=re.escape(NO_PLATFORM)):
        served.reload(text)
    said = served.withheld(config_file=config, **labelled)
    assert NO_PLATFORM in said and said.endswith("Restart the server.")
    with open(config, encoding="utf-8") as stream:
        assert stream.read() == text
    served.restart()
    assert served.version(config_file=config, **labelled)["served"] == [1]


def test_trap_60_versions_are_there_before_a_list_names_them(served):
    config = served.server["model_config_file"]
    with open(config, encoding="utf-8") as stream:
        text = stream.read()
    listed = text.replace("latest { num_versions: 2 }", "specific { versions: 9 }")
    assert listed != text
    other = served.host.state / "specific.config"
    other.write_text(listed, encoding="utf-8")
    assert "it lists version 9 of m, which is not in the model's folder" in served.withheld(
        config_file=str(other), version=1, label="canary"
    )
    assert "version 9 is missing" in served.withheld(config_file=config, version=9, label="canary")
    assert "version 9 is missing" in served.refused(
        models=[dict(served.options()["models"][0], version_policy={"specific": [9]})]
    )
    assert served.states()[1] == "AVAILABLE"

    served.reload(re.sub(r"version_labels \{[^}]*\}", "", listed))  # What the real server does with such a list.
    until(lambda: served.states()[1] == "END")
    with pytest.raises(ServerFault, match="NOT_FOUND: Servable not found for request: Latest"):
        doubles(served.server)
    served.reload(text)
    until(lambda: served.states()[1] == "AVAILABLE")


def test_trap_61_warm_up_files_are_looked_at_before_a_version_is_published(served, models, tmp_path):
    good, before = warm_up(), served.states()
    for content, words in (
        (good[:-3], "truncated"),
        (good + GARBAGE, "no record begins at byte"),
        (good[:-9] + bytes([good[-9] ^ 1]) + good[-8:], "damaged"),
        (warm_up("nope"), "record 1 requests the signature 'nope'"),
    ):
        said = served.withheld(source=str(candidate(models, tmp_path, warm=content)), version=2)
        assert f"{WARM_UP}: its warm-up file: " in said and words in said, said
        assert served.states() == before, "the server never saw it"


def test_trap_62_a_server_without_the_rest_that_was_asked_for_takes_no_traffic(served, engine, double):
    """Its gRPC serves, and its log does not tell."""
    silent = images.derived(
        engine,
        engine.images.get(double),
        'ENTRYPOINT ["/usr/bin/tf_serving_entrypoint.sh", "--monitoring_config_file=/nowhere"]',
    )
    said = served.refused(image=silent.tags[0])
    assert "it does not serve REST: no answer on the REST port" in said and "monitoring_config_file" in said


@pytest.mark.parametrize(
    "flag, words",
    [
        ("rest_api_num_threads=0", "Check failed: num_threads >= 1 (1 vs. 0)"),
        ("rest_api_num_threads=-3", "Check failed: num_threads >= 1 (1 vs. -3)"),
        ("grpc_max_threads=0", ""),
        ("grpc_channel_arguments=garbage", ""),
        ("ssl_config_file=/nowhere", "Check failed: ParseProtoTextFile<SSLConfig>(ssl_config_file, &ssl_config) is OK"),
    ],
)
def test_trap_63_values_that_abort_the_start_are_refused_before(served, engine, double, flag, words):
    """The double aborts as the real server does, without a sentence of its own."""
    name, _equals, value = flag.partition("=")
    given = {name: value} if name == "ssl_config_file" else {"flags": {name: value}}
    said = served.refused(**given)
    assert said.startswith(next(iter(given))) and value in said, said
    container = engine.containers.create(double, [f"--{flag}"], init=True)
    try:
        container.start()
        assert container.wait(timeout=300)["StatusCode"] == 134  # SIGABRT
        said = container.logs().decode()
        assert words in said and "Failed to start" not in said
    finally:
        container.remove(force=True)


def test_trap_63_the_value_in_a_file_of_the_users_is_named(served, host, double):
    said = served.refused("max_batch_size { value: 0 }\n")
    assert "SIGABRT" in said and "max_batch_size: 0 is out of range" in said and str(served.host.state) in said, said
    base = host.publish("right", "own")
    (host.state / "own" / "1" / "batching_params.pbtxt").write_text("batch_timeout_micros { value: -1 }")
    said = host.refused(
        image=double,
        model_base_path=base,
        flags={"enable_batching": True, "enable_per_model_batching_parameters": True},
    )
    assert "SIGABRT" in said and f"{base}/1/batching_params.pbtxt has batch_timeout_micros: -1 is out of range" in said


def test_trap_56_a_padded_batch_that_ends_the_server_takes_no_traffic(served):
    padded = BATCHING + "pad_variable_length_inputs: true\n"
    said = served.refused(padded)
    assert all(
        word in said for word in ("no rows", "Check failed: size >= 0", "pad_variable_length_inputs", "accept_fragile")
    ), said
    assert doubles(served.deployed(padded, accept_fragile=True)["server"])
