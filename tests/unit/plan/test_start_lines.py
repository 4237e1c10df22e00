# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start lines that users paste. shlex is the judge of words; Docker's and Kubernetes' documentation that of the rest."""

from __future__ import annotations

import shlex

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import (
    docker_options,
    option_lines,
    plan,
    shell_words,
    start_line,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._release import table
from ansible_collections.tfserving.fleet.tests.support.refusals import apply

yaml = pytest.importorskip("yaml")
hypothesis = pytest.importorskip("hypothesis")

from ansible_collections.tfserving.fleet.plugins.module_utils._plan import preparation
from hypothesis import strategies as st

HOST = {
    "architecture": "x86_64",
    "cpu": {"level": "x86-64-v3", "flags": ["avx", "avx2", "sse4_2"], "threads": 8, "usable": 8.0, "affinity": "0-7"},
    "memory": {"usable_mib": 16000},
    "gpus": [],
    "classes": {"image": "x86-64-v3", "tuning": "x86-64-v3"},
    "container": {
        "engine": "docker",
        "version": "24.0.7",
        "answers": True,
        "reason": None,
        "runtimes": ["runc"],
        "cdi_directories": [],
    },
}


def request(*lines, **keys):
    return dict({"models": [{"name": "m", "source": "/srv/m"}], "options": list(lines)}, **keys)


EMPTY = {"models": [], "flags": {}, "environment": {}, "version": None, "cpus": None, "image": None}


def planned(*lines, **keys):
    return plan.plan(HOST, request(*lines, **keys))


def refused(*lines):
    """{subject: remedy} of what the lines are refused for; every remedy works."""
    asked = request(*lines)
    found = plan.plan(HOST, asked)["refusals"]
    for refusal in found:
        again = plan.plan(HOST, apply(asked, refusal["change"]))["refusals"]
        assert refusal["subject"] not in [other["subject"] for other in again]
    return {refusal["subject"]: refusal["remedy"] for refusal in found}


def serve(*lines):
    made = planned(*lines)
    assert made["refusals"] == []
    return made["server"]["serve"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # docs.docker.com/reference/cli/docker/container/run and /engine/containers/resource_constraints: sizes are powers of 1024.
        ("--memory 5g", {"memory_mib": 5120}),
        ("-m 512m", {"memory_mib": 512}),
        ("-m2g", {"memory_mib": 2048}),
        ("--memory=1073741824", {"memory_mib": 1024}),
        ("--memory='204800k' -m 1g", {"memory_mib": 1024}),
        ("-p 8501:8501", {"rest_port": 8501}),
        ("-p 9000:8500", {"grpc_port": 9000}),
        ("-p 127.0.0.1:80:8501/tcp", {"rest_port": 80, "address": "127.0.0.1"}),
        ("--publish=0.0.0.0::8500", {"grpc_port": 0, "address": "0.0.0.0"}),
        ("-p 80:9001 --rest_api_port=9001", {"rest_port": 80}),
        ("--user 1000:1000", {"user": "1000:1000"}),
        ("-u1000", {"user": "1000"}),
        ("--restart always", {"restart_policy": "unless-stopped"}),
        ("--restart=on-failure:5", {"restart_policy": "on-failure"}),
        ("--network models", {"network": "models"}),
        ("--net=bridge", {"network": "bridge"}),
        ("--name tf_serving", {"name": "tf_serving"}),
        ("--log-opt max-size=10m --log-opt max-file=3", {"log_max_mib": 10, "log_files": 3}),
    ],
)
def test_limits_ports_and_names_of_docker_run_are_taken_over(line, expected):
    assert serve(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        '--cpus="1.5"',
        "--cpus 1.5",
        "--cpus='1.5'",
        '"--cpus=1.5",',
        "- --cpus=1.5",
        "docker run --cpus 1.5 tensorflow/serving",
        "cpus: '1.5'",
    ],
)
def test_a_cpu_limit_is_not_lost_however_it_is_quoted(line):
    assert planned(line)["server"]["cpu_set"] == "0"


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ('--cpuset-cpus="0,2"', 2),
        ("--cpuset-cpus=0-3", 4),
        ("taskset -c 1-2 tensorflow_model_server --enable_batching", 2),
    ],
)
def test_a_cpu_set_counts(line, count):
    assert planned(line)["server"]["cpu_set"] == f"0-{count - 1}"


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("--privileged", "tfserving_gpu"),
        ("--ulimit memlock=-1:-1", "default-ulimits"),
        ("--network host", "tfs_server_address"),
        ("-v /etc/ssl:/ssl", "tfs_server_ssl_config_file"),
        ("--cap-add SYS_NICE", "tfs_server_capabilities: [SYS_NICE]"),
        ("--user tf", "tfs_server_user"),
        ("--env-file env", "tfserving_environment"),
        ("-e PASSED_ON", "tfserving_environment"),
        ("--memory=lots", "tfs_server_memory_mib"),
        ("--memory=5m", "tfs_server_memory_mib"),
        ("-p 8500-8501:8500-8501", "tfs_server_grpc_port"),
        ("-p 80:80", "tfs_server_rest_port"),
        ("-v /srv/other:/models/other", "tfserving_models: [{name: other, source: /srv/other}]"),
        ("-e MODEL_NAME=other", "tfserving_models"),
        ("--ssl_config_file=/ssl", "tfs_server_ssl_config_file"),
        ("--monitoring_config_file=/m", "tfs_server_monitoring: true"),
        ("--grpc_socket_path=/run/s", "tfs_server_grpc_socket_directory"),
        ("--model_config_file=/m", "tfserving_models"),
        ("--batching_parameters_file=/b", "batching in tfserving_models"),
        ("--model_name=other", "tfserving_models"),
        ("--pids-limit 100", "Leave it out"),
        ("--sysctl net.core.somaxconn=1024", "Leave it out"),
        ("--cpus=$CPUS", "tfserving_cpus"),
        ("--num_load_threads=${N}", "write the value"),
    ],
)
def test_what_is_not_taken_over_is_refused_by_name_with_what_to_set(line, word):
    ((subject, remedy),) = refused(line).items()
    assert subject == f"option {line}" and word in remedy and "\n" not in remedy


SCRIPT = r"""
#!/bin/bash
set -e
# the model server
docker pull tensorflow/serving:2.19.1
sudo docker run -dit --rm --name tf_serving \
    -p 8500:8500 -p 127.0.0.1:8501:8501 \
    --mount type=bind,source=/srv/m,target=/models/m \
    -e MODEL_NAME=m -e "TF_OPTION=a b" -m 5g --cpus=2 \
    -t tensorflow/serving:2.19.1 \
    --rest_api_timeout_in_ms=5000 --enable_grpc_healthcheck_service > /tmp/log 2>&1 &
"""
COMPOSE = """
services:
  web: {image: nginx, ports: ["80:80"], privileged: true}
  model:
    image: tensorflow/serving:2.19.1
    container_name: tf_serving
    command: ["--rest_api_timeout_in_ms=5000", "--enable_grpc_healthcheck_service"]
    environment: {MODEL_NAME: m, TF_OPTION: a b}
    ports: ["8500:8500", {target: 8501, published: 8501, host_ip: 127.0.0.1}]
    volumes: [{type: bind, source: /srv/m, target: /models/m}]
    deploy: {resources: {limits: {cpus: "2", memory: 5G}}}
    healthcheck: {test: [CMD, "true"]}
"""
MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: serving}
spec:
  template:
    spec:
      containers:
        - name: serving
          image: tensorflow/serving:2.19.1
          command: [/bin/sh, -c]
          args: ["exec tensorflow_model_server --rest_api_timeout_in_ms=5000 --enable_grpc_healthcheck_service"]
          env: [{name: MODEL_NAME, value: m}, {name: TF_OPTION, value: a b}]
          ports: [{containerPort: 8500}, {containerPort: 8501}]
          resources: {limits: {cpu: 2000m, memory: 5Gi}}
          livenessProbe: {tcpSocket: {port: 8500}}
"""


# A manifest's list of mappings over several lines needs a reader of YAML, which the filter has.
@pytest.mark.parametrize(
    "text, split",
    [
        pytest.param(SCRIPT, False, id="script"),
        pytest.param(SCRIPT, True, id="script through the filter"),
        pytest.param(COMPOSE, False, id="compose"),
        pytest.param(COMPOSE, True, id="compose through the filter"),
        pytest.param(MANIFEST, True, id="manifest through the filter"),
    ],
)
def test_a_start_line_is_understood_as_it_stands_in_a_file(text, split):
    asked = (
        preparation.with_documents(request(text))
        if split
        else request(text)
        if text == SCRIPT
        else request(yaml.safe_load(text))
    )
    made = plan.plan(HOST, asked)
    assert made["refusals"] == []
    assert (
        made["release"] == "2.19.1"
        and made["server"]["cpu_set"] == "0-1"
        and made["server"]["environment"]["TF_OPTION"] == "a b"
    )
    assert (
        made["server"]["flags"]["rest_api_timeout_in_ms"],
        made["server"]["flags"]["enable_grpc_healthcheck_service"],
    ) == (5000, True)
    assert made["server"]["serve"]["memory_mib"] == 5120
    if text != MANIFEST:
        assert made["server"]["serve"] == {
            "name": "tf_serving",
            "grpc_port": 8500,
            "rest_port": 8501,
            "address": "127.0.0.1",
            "memory_mib": 5120,
        }


@pytest.mark.parametrize(
    "line",
    [
        "--num_load_threads=2 \\",
        "--num_load_threads=2 &",
        "--num_load_threads=2;",
        "- --num_load_threads=2",
        '"--num_load_threads=2",',
        "'--num_load_threads=2'",
        '- "--num_load_threads=2"',
        "$ tensorflow_model_server --num_load_threads=2",
        "--num_load_threads=2 # two",
        "--num_load_threads=2 > log 2>&1",
        'exec /usr/bin/tensorflow_model_server --num_load_threads=2 "$@"',
        "nohup tensorflow_model_server --num_load_threads=2 &> log &",
        'CMD ["tensorflow_model_server", "--num_load_threads=2"]',
        "args: ['--num_load_threads=2']",
        "command: --num_load_threads=2",
        "bash -c 'tensorflow_model_server --num_load_threads=2'",
        "num_load_threads: 2",
        "--num_load_threads='2'",
        "cd /srv && tensorflow_model_server --num_load_threads=2",
        "N=2; tensorflow_model_server --num_load_threads=$N",
    ],
)
def test_the_clothes_of_a_script_do_not_get_into_a_value(line):
    made = planned(line)
    assert made["server"]["flags"]["num_load_threads"] == 2 and made["refusals"] == []


# Container definitions of Amazon ECS, HCL of Nomad, TOML and Python's lists; the words are those between the quotes.
@pytest.mark.parametrize(
    "text",
    [
        'args = ["--num_load_threads=3", "--port=9000"]',
        'args = [\n  "--num_load_threads=3",\n  "--port=9000",\n]',
        'config {\n  image = "tensorflow/serving"\n  args  = ["--num_load_threads=3", "--port=9000"]\n}',
        "command=['--num_load_threads=3', '--port=9000'],",
        'cmd = ["tensorflow_model_server", "--num_load_threads=3", "--port=9000"]',
        '"command": ["--num_load_threads=3","--port=9000"],',
        '"image": "tensorflow/serving",\n"command": [\n"--num_load_threads=3",\n"--port=9000"\n],',
        '{"image": "tensorflow/serving", "command": ["--num_load_threads=3", "--port=9000"]}',
    ],
)
def test_a_list_of_words_is_understood_in_the_clothes_of_any_language(text):
    made = planned(text)
    assert made["refusals"] == [] and made["server"]["flags"]["num_load_threads"] == 3
    assert made["server"]["flags"]["port"] == 9000


@pytest.mark.parametrize(
    "given",
    [
        "- name: TF_CPP_MIN_LOG_LEVEL\n  value: '2'",
        'env:\n  - name: TF_CPP_MIN_LOG_LEVEL\n    value: "2"  # less\n',
        {"name": "TF_CPP_MIN_LOG_LEVEL", "value": "2"},
        '{"environment": [{"name": "TF_CPP_MIN_LOG_LEVEL", "value": "2"}]}',
        "set TF_CPP_MIN_LOG_LEVEL=2",
        'SET "TF_CPP_MIN_LOG_LEVEL=2"',
        '$env:TF_CPP_MIN_LOG_LEVEL = "2"',
        "$Env:TF_CPP_MIN_LOG_LEVEL='2'",
        "setenv TF_CPP_MIN_LOG_LEVEL 2",
    ],
)
def test_a_variable_is_not_lost_however_it_is_set(given):
    """Define Environment Variables for a Container (kubernetes.io), Amazon ECS, set of cmd, about_Environment_Variables of PowerShell, csh(1)."""
    made = planned(given)
    assert made["refusals"] == [] and made["server"]["environment"] == {"TF_CPP_MIN_LOG_LEVEL": "2"}


@pytest.mark.parametrize(
    "given",
    [
        "- name: LEVEL\n  valueFrom:\n    configMapKeyRef:\n      name: s\n      key: k\n      optional: true",
        {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "s", "key": "k"}}},
    ],
)
def test_a_variable_whose_value_stands_elsewhere_is_refused_by_name(given):
    (refusal,) = planned(given)["refusals"]
    assert "LEVEL" in refusal["reason"] and "tfserving_environment" in refusal["remedy"]


@pytest.mark.parametrize(
    "line",
    ["--max_batch_size=10", "--batch_timeout_micros=1000", "--num_batch_threads=6", "--pad_variable_length_inputs"],
)
def test_a_batching_parameter_among_the_flags_is_answered_with_where_it_belongs(line):
    """As in https://github.com/tensorflow/serving/issues/1440; they are fields of session_bundle_config.proto and no flags of main.cc."""
    (refusal,) = planned(line)["refusals"]
    assert "batching parameter" in refusal["reason"] and "batching (tfserving_models)" in refusal["remedy"]


def test_two_flags_on_one_line_are_two():
    flags = planned("--num_load_threads=2 --num_unload_threads=3 --enable_model_warmup")["server"]["flags"]
    assert (flags["num_load_threads"], flags["num_unload_threads"], flags["enable_model_warmup"]) == (2, 3, True)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("TF_CPP_MIN_LOG_LEVEL=2", "TF_CPP_MIN_LOG_LEVEL", "2"),
        ("export OMP_NUM_THREADS=4", "OMP_NUM_THREADS", "4"),
        ("ENV A_B='c d'", "A_B", "c d"),
        ("-e A_B=c", "A_B", "c"),
        ("--env=A_B=c=d", "A_B", "c=d"),
        ("A_B=c tensorflow_model_server --enable_batching", "A_B", "c"),
        ("A_B: c", "A_B", "c"),
    ],
)
def test_variables_are_taken_for_variables(line, name, value):
    assert planned(line)["server"]["environment"][name] == value


def test_a_flag_given_twice_has_its_last_value_as_for_the_server():
    made = planned(
        "--file_system_poll_wait_seconds=60",
        "--file_system_poll_wait_seconds=5",
        "--num_load_threads=1 --num_load_threads=1",
    )
    assert made["server"]["flags"]["file_system_poll_wait_seconds"] == 5
    assert [text for text in made["warnings"] if "file_system_poll_wait_seconds twice, 60 and 5" in text]
    assert not [text for text in made["warnings"] if "num_load_threads twice" in text]
    made = planned("--file_system_poll_wait_seconds=60", flags={"file_system_poll_wait_seconds": 7})
    assert made["server"]["flags"]["file_system_poll_wait_seconds"] == 7 and [
        text for text in made["warnings"] if "tfserving_flags applies" in text
    ]


@pytest.mark.parametrize(
    "line",
    [
        "-e AWS_SECRET_ACCESS_KEY=hunter2",
        "AWS_SESSION_TOKEN=hunter2",
        "docker run -e DB_PASSWORD=hunter2 tensorflow/serving --enable_batching",
    ],
)
def test_a_secret_on_a_start_line_is_shown_nowhere(line):
    made = planned(line, "--privileged")
    assert "hunter2" not in str(made)
    assert any("tfs_server_secret_environment" in refusal["remedy"] for refusal in made["refusals"])


@hypothesis.given(
    st.lists(
        st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12), min_size=1, max_size=5
    )
)
def test_values_are_split_as_a_shell_splits_them(values):
    names = [
        "saved_model_tags",
        "grpc_channel_arguments",
        "mixed_precision",
        "platform_config_file",
        "thread_pool_factory_config_file",
    ]
    line = shlex.join(["tensorflow_model_server", *(f"--{name}={value}" for name, value in zip(names, values))])
    assert [f"--{item.name}={item.value}" for item in start_line.items(line)] == [
        word.rstrip(",") for word in shlex.split(line)[1:]
    ]


def test_docker_options_and_server_flags_do_not_share_a_name():
    assert (
        not (shell_words.VALUED | shell_words.SWITCHES) & set(table.FLAGS)
        and set(shell_words.LETTERS.values()) <= shell_words.VALUED | shell_words.SWITCHES
    )


def test_every_option_of_docker_run_has_an_answer():
    for name in shell_words.VALUED | shell_words.SWITCHES:
        answer = option_lines.translate(
            shell_words.Item("docker", name, "x" if name in shell_words.VALUED else None, name),
            docker_options.Context({}, {}),
        )
        assert answer is not None and answer.reason


def test_the_embedded_server_has_no_limits_of_a_container():
    made = planned("-m 5g -p 9000:8500", backend="embedded")
    assert made["server"]["serve"] == {"grpc_port": 9000} and [
        text for text in made["warnings"] if "memory_mib of tfserving_options has no effect" in text
    ]


@pytest.mark.parametrize(
    "text",
    [
        # PowerShell goes on after a backtick (about_Parsing), cmd after a caret.
        "docker run -p 9000:8501 `\n  -e A_B=c `\n  tensorflow/serving:2.19.1 `\n  --num_load_threads=2",
        "docker run -p 9000:8501 ^\r\n  -e A_B=c ^\r\n  tensorflow/serving:2.19.1 ^\r\n  --num_load_threads=2",
        # Word processors make one dash of two, and typographic quotes.
        "docker run \u2013p 9000:8501 -e \u201cA_B=c\u201d tensorflow/serving:2.19.1 \u2014num_load_threads=2",
        # An option that was commented out in the middle.
        "docker run \\\n  -p 9000:8501 \\\n  # -p 8500:8500 \\\n  -e A_B=c tensorflow/serving:2.19.1 \\\n  --num_load_threads=2",
        # Variables of the script; sh(1), parameter expansion.
        "PORT=9000\nIMAGE=tensorflow/serving\ndocker run -p ${PORT}:8501 -e A_B=${C:-c} $IMAGE:2.19.1 --num_load_threads=${N-2}",
        "A_B=c; docker run -p 9000:8501 -e A_B=$A_B tensorflow/serving:2.19.1 --num_load_threads=2",
        "cat > /tmp/b.conf <<'EOF'\nmax_batch_size { value: 32 }\nEOF\ndocker run -p 9000:8501 -e A_B=c tensorflow/serving:2.19.1 --num_load_threads=2",
        'if [ -n "$A" ]; then\n  docker run -p 9000:8501 -e A_B=c tensorflow/serving:2.19.1 --num_load_threads=2 | tee -a log\nfi',
        "start() {\n  docker run -p 9000:8501 -e A_B=c tensorflow/serving:2.19.1 --num_load_threads=2 &\n  PID=$!\n  wait $PID\n}",
        '[Unit]\nAfter=docker.service\n[Service]\nEnvironment="A_B=c"\nExecStartPre=-/usr/bin/docker rm -f x\n'
        "ExecStart=/usr/bin/docker run -p 9000:8501 tensorflow/serving:2.19.1 \\\n  --num_load_threads=2\nRestartSec=5\n[Install]\nWantedBy=a.target",
        '[program:serving]\ncommand=docker run -p 9000:8501 tensorflow/serving:2.19.1 --num_load_threads=2\nenvironment=A_B="c"\nautostart=true',
        "x:\n  image: tensorflow/serving:2.19.1\n  command: --num_load_threads=2\n  environment: [A_B=c]\n  ports: ['9000:8501']",
    ],
)
def test_scripts_units_and_fragments_give_what_they_start(text):
    made = plan.plan(HOST, preparation.with_documents(request(text)))
    assert made["refusals"] == [] and made["release"] == "2.19.1"
    assert made["server"]["flags"]["num_load_threads"] == 2 and made["server"]["serve"] == {"rest_port": 9000}
    assert {key: made["server"]["environment"].get(key) for key in ("A_B", "PORT", "PID", "Environment")} == {
        "A_B": "c",
        "PORT": None,
        "PID": None,
        "Environment": None,
    }


def test_an_option_and_its_value_may_be_two_entries_of_a_list():
    made = planned("-p", "9000:8501", "--cpus", "2", "-e", "A_B=c", "--num_load_threads", "2", "--enable_model_warmup")
    assert made["refusals"] == [] and made["server"]["serve"] == {"rest_port": 9000}
    assert made["server"]["cpu_set"] == "0-1" and made["server"]["flags"]["enable_model_warmup"] is True
    made = planned("docker", "run", "-d", "-p", "9000:8501", "tensorflow/serving:2.19.1", "--num_load_threads=2")
    assert made["refusals"] == [] and made["release"] == "2.19.1" and made["server"]["serve"] == {"rest_port": 9000}


@pytest.mark.parametrize(
    ("line", "name", "value", "reason"),
    [
        # xla/tsl/util/command_line_flags.cc: a flag begins with two dashes; a bool is NAME, or has true, false, 1 or 0, capitals or not.
        ("--enable_model_warmup=FALSE", "enable_model_warmup", False, "a server flag"),
        ("-num_load_threads=2", "num_load_threads", 2, "one dash"),
        ("-enable_batching", "enable_batching", True, "one dash"),
        ("--noenable_model_warmup", "enable_model_warmup", False, "the prefix no"),
        ("--num_load_threads 2", "num_load_threads", 2, "a space"),
    ],
)
def test_flags_in_other_spellings_than_the_servers_are_meant_and_said(line, name, value, reason):
    made = planned(line)
    assert made["refusals"] == [] and made["server"]["flags"].get(name) == value
    wanted, answers, _refusals, _warnings = option_lines.understand({"options": [line], **EMPTY})
    assert wanted["flags"][name] == value and reason in answers[0]["reason"]


@pytest.mark.parametrize(
    ("line", "cpu_set"),
    [
        # taskset(1): a mask in hexadecimal, or a list with -c; numactl(8): --physcpubind.
        ("taskset 0xf tensorflow_model_server", "0-3"),
        ("taskset -a -c 0,2,4 tensorflow_model_server", "0-2"),
        ("numactl --physcpubind=0-1 tensorflow_model_server", "0-1"),
        ("[Service]\nCPUQuota=300%", "0-2"),
    ],
)
def test_cpus_that_other_programs_bind_count(line, cpu_set):
    assert planned(line)["server"]["cpu_set"] == cpu_set


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("spec: {hostNetwork: true, containers: [{image: tensorflow/serving}]}", "--network=host"),
        (
            "containers: [{image: tensorflow/serving, securityContext: {capabilities: {add: [SYS_NICE]}}}]\nx: 1",
            "--cap-add=SYS_NICE",
        ),
        ("containers: [{image: tensorflow/serving, envFrom: [{configMapRef: {name: c}}]}]\nx: 1", "--env-file="),
        ("[Service]\nLimitNOFILE=65536", "--ulimit=nofile=65536"),
        ("ulimit -n 65536\ntensorflow_model_server", "--ulimit='-n 65536'"),
        # numactl(8): its options for the nodes of CPUs and of memory.
        *(
            (f"numactl {option} tensorflow_model_server", f"numactl {option}")
            for option in (
                "-N 0",
                "-m 0",
                "-i 0",
                "-p 0",
                "--cpunodebind=0",
                "--membind=0",
                "--interleave=0",
                "--preferred=0",
            )
        ),
        ("kubectl run tfs --image=tensorflow/serving -- --num_load_threads=2", "kubectl run tfs"),
    ],
)
def test_what_a_pod_a_unit_or_a_wrapper_sets_is_not_lost(text, subject):
    asked = preparation.with_documents(
        request(text if "\n" in text else f"{text}\n---\n{{kind: Service}}" if "{" in text else text)
    )
    assert [one["subject"] for one in plan.plan(HOST, asked)["refusals"] if subject in one["subject"]]


def test_a_pods_user_is_its_containers():
    asked = request(
        yaml.safe_load("spec: {securityContext: {runAsUser: 1000}, containers: [{image: tensorflow/serving}]}")
    )
    assert plan.plan(HOST, asked)["server"]["serve"] == {"user": "1000"}
