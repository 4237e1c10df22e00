# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every key of a compose service and of a Kubernetes container, and every program that scripts put before or beside a server.

Sources: docs.docker.com/reference/compose-file/services, kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1 (Container),
docs.docker.com/reference/dockerfile, POSIX's Shell Command Language, and the manuals of the programs.
"""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import plan, start_line
from ansible_collections.tfserving.fleet.plugins.module_utils._release import table


def understood(*given):
    """(kind, name, value) of the parts of what a user gives."""
    return [(item.kind, item.name, item.value) for one in given for item in start_line.items(one)]


def docker(name, value=None):
    return [("docker", name, value)]


# Key of a service or container, a value as its documentation has it, and the option of docker run that stands for it.
SCALARS = [
    ("container_name", "serving", "name"),
    ("cpus", "1.5", "cpus"),
    ("cpuset", "0-3", "cpuset-cpus"),
    ("cpu_shares", "73", "cpu-shares"),
    ("cpu_quota", "50000", "cpu-quota"),
    ("mem_limit", "2g", "memory"),
    ("mem_reservation", "1g", "memory-reservation"),
    ("memswap_limit", "3g", "memory-swap"),
    ("shm_size", "2gb", "shm-size"),
    ("restart", "unless-stopped", "restart"),
    ("user", "1000:1000", "user"),
    ("network_mode", "host", "network"),
    ("runtime", "nvidia", "runtime"),
    ("pids_limit", "10", "pids-limit"),
    ("ipc", "host", "ipc"),
    ("pid", "host", "pid"),
    ("hostname", "web", "hostname"),
    ("working_dir", "/srv", "workdir"),
    ("stop_signal", "SIGINT", "stop-signal"),
    ("stop_grace_period", "1m30s", "stop-timeout"),
    ("platform", "linux/amd64", "platform"),
    ("pull_policy", "always", "pull"),
    ("imagePullPolicy", "Always", "pull"),
    ("userns_mode", "host", "userns"),
    ("mac_address", "92:d0:c6:0a:29:33", "mac-address"),
    ("cgroup_parent", "m-executor", "cgroup-parent"),
    ("domainname", "example.org", "domainname"),
    ("gpus", "all", "gpus"),
]
LISTS = [
    ("env_file", "a.env", "env-file"),
    ("cap_add", "SYS_NICE", "cap-add"),
    ("cap_drop", "ALL", "cap-drop"),
    ("devices", "/dev/fuse", "device"),
    ("dns", "8.8.8.8", "dns"),
    ("extra_hosts", "a=10.0.0.1", "add-host"),
    ("tmpfs", "/run", "tmpfs"),
    ("security_opt", "no-new-privileges", "security-opt"),
    ("networks", "models", "network"),
    ("expose", "8500", "expose"),
    ("labels", "a=b", "label"),
    ("group_add", "video", "group-add"),
    ("links", "db", "link"),
    ("ulimits", "nofile=1024", "ulimit"),
    ("sysctls", "a=1", "sysctl"),
]
SWITCHES = [
    ("privileged", "privileged"),
    ("read_only", "read-only"),
    ("readOnlyRootFilesystem", "read-only"),
    ("init", "init"),
    ("tty", "tty"),
    ("stdin_open", "interactive"),
    ("oom_kill_disable", "oom-kill-disable"),
]


@pytest.mark.parametrize(("key", "value", "option"), SCALARS + LISTS)
def test_a_key_of_a_service_is_an_option_of_docker_run(key, value, option):
    assert understood(f"{key}: {value}") == understood({key: value}) == docker(option, value)
    assert understood(f"  {key}: '{value}'  # as before") == docker(option, value)


@pytest.mark.parametrize(("key", "value", "option"), LISTS)
def test_a_key_that_holds_a_list_is_as_many_options(key, value, option):
    assert understood({key: [value, "x"]}) == docker(option, value) + docker(option, "x")
    if "=" in value:
        name, _equals, setting = value.partition("=")
        assert understood({key: {name: setting}}) == docker(option, value)


@pytest.mark.parametrize(("key", "option"), SWITCHES)
def test_a_switch_counts_where_it_is_on(key, option):
    for on in ("true", "yes", "on", "True"):
        assert understood(f"{key}: {on}") == docker(option)
    assert understood(f"{key}: false", f"{key}: no", {key: False}, {key: None}) == []
    assert understood({key: True}) == docker(option)


KUBERNETES = {
    "spec": {
        "initContainers": None,
        "containers": [
            {
                "name": "serving",
                "image": "tensorflow/serving:2.19.1",
                "args": ["--enable_batching", "--num_load_threads=3"],
                "ports": [{"containerPort": 8500}, {"containerPort": 8501, "hostPort": 80, "hostIP": "10.0.0.1"}],
                "env": [
                    {"name": "A", "value": "b"},
                    {"name": "FROM_ELSEWHERE", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
                    {"name": "ON", "value": True},
                ],
                "resources": {
                    "limits": {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": 1},
                    "requests": {"cpu": "1", "memory": "1Gi"},
                },
                "securityContext": {
                    "runAsUser": 1000,
                    "readOnlyRootFilesystem": True,
                    "privileged": True,
                    "runAsNonRoot": True,
                },
                "volumeMounts": [{"name": "models", "mountPath": "/models"}],
                "livenessProbe": {"tcpSocket": {"port": 8500}},
                "readinessProbe": {"tcpSocket": {"port": 8500}},
                "startupProbe": {"tcpSocket": {"port": 8500}},
            },
            {"name": "sidecar", "image": "envoy", "args": ["--port=1"]},
        ],
    },
}
COMPOSE = {
    "services": {
        "serving": {
            "image": "tensorflow/serving:2.19.1",
            "entrypoint": "/usr/bin/tf_serving_entrypoint.sh --enable_batching",
            "command": "--num_load_threads=3 \\\n--num_unload_threads=2",
            "ports": ["8500:8500", {"target": 8501, "published": 80, "host_ip": "10.0.0.1"}, {"target": 9000}],
            "environment": ["A=b", "FROM_ELSEWHERE"],
            "deploy": {
                "resources": {
                    "limits": {"cpus": "2", "memory": "4g"},
                    "reservations": {"devices": [{"driver": "nvidia", "capabilities": ["gpu"]}]},
                }
            },
            "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
            "volumes": [{"type": "bind", "source": "/srv/m", "target": "/models/m"}, "/srv/n:/models/n"],
            "networks": {"front": None, "back": {}},
            "depends_on": ["db"],
            "healthcheck": {"test": "true"},
            "build": {"context": "."},
            "profiles": ["a"],
            "secrets": ["a"],
        },
        "db": {"image": "postgres", "privileged": True},
    }
}


def test_a_container_of_kubernetes():
    assert understood(KUBERNETES) == [
        ("image", "tensorflow/serving:2.19.1", None),
        *docker("publish", "10.0.0.1:80:8501"),
        ("environment", "A", "b"),
        *docker("env", "FROM_ELSEWHERE"),
        ("environment", "ON", "true"),
        *docker("cpus", "2"),
        *docker("memory", "4Gi"),
        *docker("gpus", "1"),
        *docker("user", "1000"),
        *docker("read-only"),
        *docker("privileged"),
        *docker("volume", "models:/models"),
        ("flag", "enable_batching", None),
        ("flag", "num_load_threads", "3"),
    ]


def test_a_service_of_compose():
    assert understood(COMPOSE) == [
        ("image", "tensorflow/serving:2.19.1", None),
        *docker("publish", "8500:8500"),
        *docker("publish", "10.0.0.1:80:8501"),
        ("environment", "A", "b"),
        *docker("env", "FROM_ELSEWHERE"),
        *docker("cpus", "2"),
        *docker("memory", "4g"),
        *docker("gpus", "all"),
        *docker("log-driver", "json-file"),
        *docker("log-opt", "max-size=10m"),
        *docker("log-opt", "max-file=3"),
        *docker("volume", "/srv/m:/models/m"),
        *docker("volume", "/srv/n:/models/n"),
        *docker("network", "front"),
        *docker("network", "back"),
        ("word", "secrets", None),
        ("flag", "enable_batching", None),
        ("flag", "num_load_threads", "3"),
        ("flag", "num_unload_threads", "2"),
    ]


@pytest.mark.parametrize(
    "serving",
    [
        {"image": "registry.example/serving"},
        {"command": ["tensorflow_model_server"]},
        {"args": ["tensorflow_model_server"]},
        {"entrypoint": "tensorflow_model_server"},
    ],
)
def test_the_service_that_serves_is_chosen(serving):
    document = {"services": {"other": {"cpus": 1, "image": "nginx"}, "serving": {"cpus": 2, **serving}}}
    assert [part for part in understood(document) if part[0] == "docker"] == docker("cpus", "2")
    unknown = {"services": {"a": {"cpus": 1}, "b": {"cpus": 2}, "c": None}}
    assert understood(unknown) == docker("cpus", "1") + docker("cpus", "2")


SILENT = """
    version services apiVersion kind metadata spec template containers resources limits requests reservations deploy name healthcheck depends_on
    livenessProbe readinessProbe startupProbe replicas selector matchLabels app build context dockerfile logging driver options securityContext value
    valueFrom containerPort hostPort protocol mountPath mode profiles""".split()


@pytest.mark.parametrize("key", SILENT)
def test_a_key_that_says_nothing_of_a_server_is_left_out(key):
    assert understood(f"{key}: x", f"{key}:") == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("max-size: 10m", docker("log-opt", "max-size=10m")),
        ("max-file: '3'", docker("log-opt", "max-file=3")),
        ("nvidia.com/gpu: 1", docker("gpus", "1")),
        ("runAsUser: 1000", docker("user", "1000")),
        ("memory: 4Gi", docker("memory", "4Gi")),
        ("cpu: 500m", docker("cpus", "500m")),
        ("image: tensorflow/serving:2.19.1", [("image", "tensorflow/serving:2.19.1", None)]),
        ("image:", []),
        ("command: --num_load_threads=3", [("flag", "num_load_threads", "3")]),
        ("args: [--num_load_threads=3, '--port=1']", [("flag", "num_load_threads", "3"), ("flag", "port", "1")]),
        ('entrypoint: ["tensorflow_model_server", "--port=1"]', [("flag", "port", "1")]),
        ("command:", []),
        ("A_B: 1", [("environment", "A_B", "1")]),
        ("num_load_threads: 3", [("flag", "num_load_threads", "3")]),
        ("enable_batching: true", [("flag", "enable_batching", "true")]),
        ("surprise: 1", [("word", "surprise", None)]),
        ("mem_limit: |", []),
        ("mem_limit: >", []),
        ("mem_limit: |-", []),
        ("mem_limit: >-", []),
        ("environment: {}", []),
        ("ports: []", []),
        ("mem_limit: 1g # a comment", docker("memory", "1g")),
        ('mem_limit: "1g"', docker("memory", "1g")),
        ("- 8500:8500", docker("publish", "8500:8500")),
        ('- "127.0.0.1:80:8501/tcp"', docker("publish", "127.0.0.1:80:8501/tcp")),
        ("- /srv/m:/models/m:ro", docker("volume", "/srv/m:/models/m:ro")),
        ("- ./m:/models/m", docker("volume", "./m:/models/m")),
        ("- ~/m:/models/m", docker("volume", "~/m:/models/m")),
        ("- A=b", [("environment", "A", "b")]),
        ("# a comment", []),
        ("", []),
    ],
)
def test_a_line_of_a_compose_file_or_a_manifest(line, expected):
    assert understood(line) == expected


# A compose file says its own version under that name.
@pytest.mark.parametrize("flag", sorted(set(table.FLAGS) - {"version"}))
def test_a_flag_as_a_mapping_has_it_is_the_flag(flag):
    for value in ("a", "1", "true"):
        assert understood({flag: value}) == understood(f"--{flag}={value}") == [("flag", flag, value)]
    assert understood({flag: True}) == [("flag", flag, "true")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('CMD ["tensorflow_model_server", "--port=1"]', [("flag", "port", "1")]),
        ("CMD tensorflow_model_server --port=1", [("flag", "port", "1")]),
        ('ENTRYPOINT ["tensorflow_model_server", "--port=1"],', [("flag", "port", "1")]),
        ("ENTRYPOINT ['tensorflow_model_server', '--port=1']", [("flag", "port", "1")]),
        ("FROM tensorflow/serving:2.19.1 AS base", [("image", "tensorflow/serving:2.19.1", None)]),
        ("USER 1000", docker("user", "1000")),
        ("USER 1000:1000  ", docker("user", "1000:1000")),
        ("ENV A=b C=d", [("environment", "A", "b"), ("environment", "C", "d")]),
        ("ENV A b", [("environment", "A", "b")]),
        *(
            (f"{instruction} something", [("silent", instruction, None)])
            for instruction in ("ARG", "EXPOSE", "WORKDIR", "RUN", "COPY", "ADD", "LABEL", "VOLUME")
        ),
    ],
)
def test_a_line_of_a_docker_file(line, expected):
    assert understood(line) == expected


FLAG = [("flag", "port", "1")]


def test_a_program_of_supervisord():
    """supervisord.org/configuration.html, [program:x]: command, user and autostart."""
    text = "[program:serving]\ncommand=tensorflow_model_server --port=1\nuser=1000\nautostart=true"
    set_ = [item for item in understood(text) if item[0] != "silent"]
    assert set_ == [*FLAG, *docker("user", "1000")]


@pytest.mark.parametrize(
    "line",
    [
        *(
            f"{program} tensorflow_model_server --port=1"
            for program in (
                *(
                    "sudo",
                    "nohup",
                    "exec",
                    "time",
                    "setsid",
                    "env",
                    "command",
                    "export",
                    "tini",
                    "dumb-init",
                    "nice",
                    "stdbuf",
                ),
                *(
                    "sudo -u tf",
                    "sudo -E",
                    "nice -n 10",
                    "nice -10",
                    "stdbuf -oL",
                    "tini --",
                    "/usr/bin/env",
                    "/sbin/tini",
                ),
            )
        ),
        *(f"{shell} -c 'tensorflow_model_server --port=1'" for shell in ("sh", "bash", "dash", "ash", "zsh")),
        "/bin/sh -ec 'exec tensorflow_model_server --port=1'",
        "bash -lc 'tensorflow_model_server --port=1'",
        "bash tf_serving_entrypoint.sh --port=1",
        "/usr/bin/tf_serving_entrypoint.sh --port=1",
        "tensorflow_model_server --port=1 > log",
        "tensorflow_model_server --port=1 2> log",
        "tensorflow_model_server 2>&1 --port=1",
        "tensorflow_model_server >> log 2>> errors --port=1",
        "tensorflow_model_server < /dev/null --port=1",
        "tensorflow_model_server >&- --port=1",
        "tensorflow_model_server --port=1;",
        "tensorflow_model_server --port=1 &",
        "tensorflow_model_server \\\n  --port=1",
        "tensorflow_model_server \\\r\n  --port=1",
        "tensorflow_model_server --port=1 \\",
        "tensorflow_model_server --port=1 # --port=2",
        'tensorflow_model_server "$@" --port=1 $*',
        "> tensorflow_model_server --port=1",
        "$ sudo tensorflow_model_server --port=1",
    ],
)
def test_what_surrounds_a_server_sets_nothing(line):
    assert understood(line) == FLAG


@pytest.mark.parametrize(
    "wrapper",
    # Of GNU coreutils, util-linux, gosu and su-exec: how many words of their own stand before the program that they start.
    [
        "stdbuf -oL",
        "nice -n 10",
        "ionice -c 2",
        "timeout 60",
        "chrt 1",
        "gosu tf",
        "su-exec tf",
        "sudo -u tf",
        "time -o log",
    ],
)
def test_a_program_that_starts_another_takes_its_own_words_and_no_more(wrapper):
    assert understood(f"{wrapper} another_server --port=1")[-2:] == [("word", "another_server", None), *FLAG]


@pytest.mark.parametrize(
    "line", ["cd /srv && tensorflow_model_server --port=1 2>&1", "cd 1; tensorflow_model_server --port=1 2> log"]
)
def test_the_number_of_a_stream_belongs_to_its_own_command(line):
    assert understood(line) == [("silent", "cd", None), *FLAG]


def test_a_script_that_a_docker_file_writes_is_read():
    """As tensorflow_serving/tools/docker/Dockerfile writes its entry point."""
    line = (
        "RUN echo '#!/bin/bash \\n\\n\\\ntensorflow_model_server --port=1 --rest_api_port=2 "
        '"$@"\' > /usr/bin/tf_serving_entrypoint.sh'
    )
    assert understood(line) == [*FLAG, ("flag", "rest_api_port", "2")]
    assert understood(line.replace("echo", "printf"))[0][0] == "silent"


@pytest.mark.parametrize(
    "program",
    [
        "cd",
        "echo",
        "mkdir",
        "sleep",
        "wait",
        "source",
        ".",
        "pwd",
        "true",
        "exit",
        "chmod",
        "chown",
        "cat",
        "trap",
        "set",
    ],
)
def test_a_command_that_prepares_sets_nothing(program):
    for between in (" && ", " ; ", "; ", " || ", " | ", "\n"):
        assert understood(f"{program} /srv{between}tensorflow_model_server --port=1") == [
            ("silent", program, None),
            *FLAG,
        ]


@pytest.mark.parametrize("engine", ["docker", "podman", "nvidia-docker", "nerdctl", "/usr/bin/docker", "sudo docker"])
def test_every_engine_runs_containers(engine):
    runtime = docker("runtime", "nvidia") if engine == "nvidia-docker" else []
    line = "run -d --name a tensorflow/serving --port=1"
    expected = [*runtime, *docker("detach"), *docker("name", "a"), ("image", "tensorflow/serving", None), *FLAG]
    assert understood(f"{engine} {line}") == expected
    assert understood(f"{engine} --debug container {line}") != expected
    assert understood(f"{engine} container {line}") == expected


@pytest.mark.parametrize(
    "command",
    [
        *("pull", "stop", "rm", "kill", "logs", "ps", "images", "exec", "login", "cp", "tag", "push", "network"),
        *("volume", "inspect", "start", "restart", "wait", "build"),
    ],
)
def test_other_commands_of_an_engine_start_nothing(command):
    assert understood(f"docker {command} serving") == [("silent", "docker", None)]
    assert understood(f"docker container {command} serving") == [("silent", "docker", None)]
    assert plan.plan({}, {"options": [f"docker {command} serving"]})["refusals"] == []


def test_a_command_of_an_engine_that_is_not_known_is_refused():
    (refusal,) = plan.plan({}, {"options": ["docker teleport serving"]})["refusals"]
    assert refusal["subject"] == "option docker teleport serving" and "Leave it out" in refusal["remedy"]
    assert understood("docker") == [("word", "docker", None)]


def test_the_arguments_of_a_build_count():
    line = "docker build --build-arg TF_SERVING_VERSION_GIT_BRANCH=r2.19 --build-arg=A=b --build-arg"
    assert understood(line) == [
        ("flag", "build-arg", "TF_SERVING_VERSION_GIT_BRANCH=r2.19"),
        ("flag", "build-arg", "A=b"),
        ("silent", "docker", None),
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # The server takes --flag=value only; a value behind a blank is kept to say so.
        ("--port 1", [("flag", "port", "1", True)]),
        ("--enable_batching --port=1", [("flag", "enable_batching", None, False), ("flag", "port", "1", False)]),
        ("--enable_batching", [("flag", "enable_batching", None, False)]),
        ("--port= --num_load_threads=1", [("flag", "port", "", False), ("flag", "num_load_threads", "1", False)]),
        (
            "--enable_batching tensorflow/serving",
            [("flag", "enable_batching", None, False), ("image", "tensorflow/serving", None, False)],
        ),
        ("--enable_batching tensorflow_model_server", [("flag", "enable_batching", None, False)]),
        ("word --port=1", [("word", "word", None, False), ("flag", "port", "1", False)]),
        ("word other", [("word", "word", None, False), ("word", "other", None, False)]),
        ("-x", [("word", "-x", None, False)]),
        ("-e A='b c' \\", [("environment", "A", "b c", False)]),
        ("-e=A=b", [("environment", "A", "b", False)]),
        ("--env=A", [("docker", "env", "A", False)]),
        ("--detach=true", [("docker", "detach", "true", False)]),
        ("taskset -c 0-3 tensorflow_model_server", [("docker", "cpuset-cpus", "0-3", False)]),
        ("2x=3", [("word", "2x=3", None, False)]),
        ("'--port=1 --num_load_threads=2'", [("flag", "port", "1", False), ("flag", "num_load_threads", "2", False)]),
        ('"A=b c"', [("environment", "A", "b c", False)]),
    ],
)
def test_the_words_of_a_line(line, expected):
    assert [(one.kind, one.name, one.value, one.spelling == "blank") for one in start_line.items(line)] == expected


@pytest.mark.parametrize(
    "line",
    [
        *("--port=1", "--saved_model_tags='a b'", "A='b c'", "--env=A", "--detach", "--name='a b'", "--port 1"),
        *("image: tensorflow/serving:2.19.1", "'a word'", "surprise: 1", "enable_batching: true"),
        *("docker run --name=a --gpus='\"device=0\"' tensorflow/serving --port=1", "docker container run -it a b=1"),
    ],
)
def test_each_part_alone_is_a_line_that_means_the_same(line):
    for item in start_line.items(line):
        assert understood(item.given) == [(item.kind, item.name, item.value)]


@pytest.mark.parametrize(
    "name",
    [
        "tensorflow/serving",
        "docker.io/tensorflow/serving:2.19.1",
        "registry.example:5000/team/tensorflow/serving:2.19.1-gpu",
        "tensorflow/serving@sha256:0123456789abcdef",
        "tensorflow/serving:${VERSION}",
        "bitnami/tensorflow-serving:2",
        "emacski/tensorflow-serving:latest",
        "registry.example/tf-serving",
        "my-tfserving:1",
    ],
)
def test_an_image_of_a_server_is_known_by_its_name(name):
    assert understood(name) == [("image", name, None)]
    assert understood(f"--enable_batching {name}") == [("flag", "enable_batching", None), ("image", name, None)]
