# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every option of `docker run`, by its documentation (docs.docker.com/reference/cli/docker/container/run): what a plan makes of it, and why."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import plan

HOST = {
    "architecture": "x86_64",
    "cpu": {"level": "x86-64-v3", "flags": ["avx", "avx2", "sse4_2"], "threads": 8, "usable": 8.0, "affinity": "0-7"},
    "memory": {"usable_mib": 16000},
    "container": {
        "engine": "docker",
        "version": "24.0.7",
        "answers": True,
        "runtimes": ["runc"],
        "cdi_directories": [],
    },
}


def planned(*lines, **request):
    return plan.plan(
        HOST, {"models": [{"name": "m", "source": "/srv/m", "version": "1"}], "options": list(lines), **request}
    )


def options(made):
    """{line: (choice, reason)} of the lines that were understood."""
    return {
        one["subject"].removeprefix("option "): (one["choice"], one["reason"])
        for one in made["decisions"]
        if one["subject"].startswith("option ")
    }


def understood(line, **request):
    """(choice, reason, server.serve) of one line that is taken over."""
    made = planned(line, **request)
    assert made["refusals"] == []
    ((choice, reason),) = options(made).values()
    return choice, reason, made["server"].get("serve", {})


def refused(line, **request):
    """(reason, remedy) of one line that is refused."""
    made = planned(line, **request)
    assert options(made) == {} and [one["subject"] for one in made["refusals"]] == [f"option {line}"]
    return made["refusals"][0]["reason"], made["refusals"][0]["remedy"]


# Options without a value, then options with one and such a value. The second word is what the option is about: Docker's documentation
# says so of its default or effect, and the reason must speak of it.
WITHOUT_EFFECT_SWITCHES = {
    "detach": "background",
    "interactive": "input",
    "tty": "terminal",
    "rm": "removed",
    "init": "init",
    "sig-proxy": "background",
    "quiet": "pull",
    "help": "print",
    "disable-content-trust": "digest",
    "no-healthcheck": "checks",
    "read-only": "tfs_server_read_only",
}
WITHOUT_EFFECT_VALUED = {
    "attach": ("stdout", "background"),
    "entrypoint": ("/bin/serve", "starts the server"),
    "workdir": ("/srv", "paths"),
    "hostname": ("web", "host's name"),
    "label": ("a=b", "labels"),
    "pull": ("always", "image"),
    "expose": ("8500", "tfs_server_grpc_port and tfs_server_rest_port"),
    "cap-drop": ("ALL", "tfs_server_capabilities"),
    "shm-size": ("64m", "/dev/shm"),
    "ipc": ("private", "memory"),
    "memory-swap": ("1g", "swap"),
    "stop-signal": ("SIGINT", "SIGTERM"),
    "cidfile": ("/run/id", "labels"),
    "detach-keys": ("ctrl-a", "terminal"),
    "stop-timeout": ("10", "requests in flight"),
    "domainname": ("example.org", "does not use it"),
    "tmpfs": ("/tmp", "/tmp"),
    "platform": ("linux/amd64", "image"),
    "health-cmd": ("true", "checks"),
    "health-interval": ("3s", "checks"),
    "health-retries": ("3", "checks"),
    "health-start-interval": ("3s", "checks"),
    "health-start-period": ("3s", "checks"),
    "health-timeout": ("3s", "checks"),
}
STAND_FOR = {
    "cap-add": ("SYS_NICE", "tfs_server_capabilities: [SYS_NICE]"),
    "memory-reservation": ("1g", "tfs_server_memory_mib"),
    "cpu-shares": ("512", "tfserving_cpus"),
    "cpu-quota": ("50000", "tfserving_cpus"),
    "cpu-period": ("100000", "tfserving_cpus"),
    "cpuset-mems": ("0", "tfserving_cpus"),
    "cpu-count": ("2", "tfserving_cpus"),
    "cpu-percent": ("50", "tfserving_cpus"),
    "env-file": ("/srv/env", "tfserving_environment, or tfs_server_secret_environment for secrets"),
    "group-add": ("video", "tfs_server_user"),
    "userns": ("host", "tfs_server_user"),
    "network-alias": ("web", "tfs_server_network"),
    "net-alias": ("web", "tfs_server_network"),
}
UNSUPPORTED = {
    "add-host": "a:10.0.0.1",
    "annotation": "a=b",
    "blkio-weight": "10",
    "blkio-weight-device": "/dev/sda:10",
    "cgroup-parent": "/a",
    "cgroupns": "private",
    "cpu-rt-period": "1000",
    "cpu-rt-runtime": "1000",
    "device-cgroup-rule": "c 1:3 mr",
    "device-read-bps": "/dev/sda:1mb",
    "device-read-iops": "/dev/sda:10",
    "device-write-bps": "/dev/sda:1mb",
    "device-write-iops": "/dev/sda:10",
    "dns": "10.0.0.1",
    "dns-opt": "ndots:1",
    "dns-option": "ndots:1",
    "dns-search": "example.org",
    "io-maxbandwidth": "1m",
    "io-maxiops": "10",
    "ip": "10.0.0.2",
    "ip6": "2001:db8::2",
    "isolation": "default",
    "kernel-memory": "64m",
    "label-file": "/srv/labels",
    "link": "db",
    "link-local-ip": "169.254.0.2",
    "mac-address": "92:d0:c6:0a:29:33",
    "memory-swappiness": "0",
    "oom-score-adj": "-500",
    "pid": "host",
    "pids-limit": "100",
    "storage-opt": "size=10G",
    "sysctl": "net.core.somaxconn=1024",
    "uts": "host",
    "volume-driver": "local",
    "volumes-from": "other",
}
LETTERS = {
    "-a stdout": "attach",
    "-d": "detach",
    "-h web": "hostname",
    "-i": "interactive",
    "-l a=b": "label",
    "-q": "quiet",
    "-t": "tty",
    "-w /srv": "workdir",
}


@pytest.mark.parametrize(
    ("line", "word"),
    [
        *((f"--{name}", word) for name, word in WITHOUT_EFFECT_SWITCHES.items()),
        *(
            (f"--{name}{between}{value}", word)
            for name, (value, word) in WITHOUT_EFFECT_VALUED.items()
            for between in "= "
        ),
        *((line, {**WITHOUT_EFFECT_SWITCHES, "attach": "background"}.get(name, "")) for line, name in LETTERS.items()),
    ],
)
def test_an_option_without_effect_says_why(line, word):
    choice, reason, serve = understood(line)
    assert choice == "nothing" and word in reason and serve == {}


@pytest.mark.parametrize(
    ("line", "variable"),
    [
        *((f"--{name}{between}{value}", variable) for name, (value, variable) in STAND_FOR.items() for between in "= "),
        ("-c 512", "tfserving_cpus"),
        ("-P", "tfs_server_grpc_port and tfs_server_rest_port"),
        ("--publish-all", "tfs_server_grpc_port and tfs_server_rest_port"),
    ],
)
def test_an_option_that_a_variable_stands_for_names_it(line, variable):
    reason, remedy = refused(line)
    assert "docker run is not converted" in reason
    assert remedy == f"Leave it out of tfserving_options, and set {variable}"


@pytest.mark.parametrize(
    "line",
    [
        "--oom-kill-disable",
        "--use-api-socket",
        *(f"--{name}{between}'{value}'" for name, value in UNSUPPORTED.items() for between in "= "),
    ],
)
def test_an_option_that_nothing_stands_for_is_left_out(line):
    reason, remedy = refused(line)
    assert reason.startswith(f"{line.replace('=', ' ').split()[0]} of docker run is not supported")
    assert remedy == "Leave it out of tfserving_options"


@pytest.mark.parametrize(
    "words",
    [
        *(f"--{name}" for name in [*WITHOUT_EFFECT_SWITCHES, "oom-kill-disable", "privileged", "use-api-socket"]),
        *(f"--{name} {value}" for name, (value, _word) in {**WITHOUT_EFFECT_VALUED, **STAND_FOR}.items()),
        *(f"--{name} '{value}'" for name, value in UNSUPPORTED.items()),
        *LETTERS,
        *("-c 512", "-e A=b", "-m 1g", "-p 80:8500", "-P", "-u 1000", "-v /srv/m:/models/m"),
        *("-it", "-dit", "-itm 1g", "-dp 80:8500", "-itPe A=b"),
    ],
)
@pytest.mark.parametrize("command", ["docker run", "docker create", "docker container run", "podman run"])
def test_the_image_behind_an_option_is_found(command, words):
    made = planned(f"{command} {words} tensorflow/serving:2.19.1 --num_load_threads=3")
    assert made["release"] == "2.19.1" and options(made)["--num_load_threads=3"][0] == "--num_load_threads=3"
    understood_or_refused = {*options(made), *(one["subject"].removeprefix("option ") for one in made["refusals"])}
    assert "image: tensorflow/serving:2.19.1" in understood_or_refused
    letters = len(words.split()[0]) - 1 if words[1] != "-" else 1
    assert len(understood_or_refused) == 2 + letters


# Docker (github.com/docker/go-units, RAMInBytes), compose and Kubernetes write sizes with these ends; all are powers of 1024 here.
@pytest.mark.parametrize("end", ["{}", "{}b", "{}ib", "{}i"])
@pytest.mark.parametrize(("unit", "size"), [("k", 2**10), ("m", 2**20), ("g", 2**30), ("t", 2**40)])
@pytest.mark.parametrize("spelt", [str.lower, str.upper])
def test_a_size_has_one_of_these_ends(unit, size, end, spelt):
    suffix = spelt(end.format(unit))
    assert understood(f"--memory={2 * 2**40 // size}{suffix}")[2] == {"memory_mib": 2 * 2**20}
    assert understood(f"--log-opt max-size={2**40 // size}{suffix}")[2] == {"log_max_mib": 2**20}


@pytest.mark.parametrize(
    ("size", "mib"),
    [("67108864", 64), ("67108864b", 64), ("1.5g", 1536), ("64m", 64), ("'100 m'", 100), ("2097151k", 2047)],
)
def test_a_memory_limit_is_rounded_down_to_mebibytes(size, mib):
    assert understood(f"--memory={size}") == (
        f"tfs_server_memory_mib: {mib}",
        "the server's memory limit",
        {"memory_mib": mib},
    )


@pytest.mark.parametrize("size", ["63m", "67108863", "0", "g", "5x", "5kk", "m5", "-1"])
def test_a_size_that_is_none_or_too_small_is_refused(size):
    reason, remedy = refused(f"--memory={size}")
    assert repr(size) in reason and "64 MiB" in reason and "tfs_server_memory_mib" in remedy


@pytest.mark.parametrize(
    ("line", "choice", "word", "serve"),
    [
        ("--restart=always", "unless-stopped", "that you stopped", "unless-stopped"),
        ("--restart=unless-stopped", "unless-stopped", "restarts the server", "unless-stopped"),
        ("--restart=no", "no", "restarts the server", "no"),
        ("--restart=on-failure", "on-failure", "restarts the server", "on-failure"),
        ("--restart=on-failure:3", "on-failure", "restarts the server", "on-failure"),
        ("restart: 'false'", "no", "restarts the server", "no"),
    ],
)
def test_a_restart_policy(line, choice, word, serve):
    made = understood(line)
    assert made[0] == f"tfs_server_restart_policy: {choice}" and word in made[1]
    assert made[2] == {"restart_policy": serve}


@pytest.mark.parametrize(
    ("line", "choice", "word", "serve"),
    [
        ("--user=1000", "tfs_server_user: 1000", "read the models", {"user": "1000"}),
        ("--user=0:0", "tfs_server_user: 0:0", "read the models", {"user": "0:0"}),
        ("--name=a1_.-", "tfs_server_name: a1_.-", "name", {"name": "a1_.-"}),
        (f"--name={'n' * 64}", f"tfs_server_name: {'n' * 64}", "name", {"name": "n" * 64}),
        ("--network=a_b.c-d", "tfs_server_network: a_b.c-d", "joins", {"network": "a_b.c-d"}),
        ("--net=models", "tfs_server_network: models", "joins", {"network": "models"}),
        ("--log-opt max-size=10m", "tfs_server_log_max_mib: 10", "maximum size", {"log_max_mib": 10}),
        ("--log-opt max-size=1m", "tfs_server_log_max_mib: 1", "maximum size", {"log_max_mib": 1}),
        ("--log-opt max-file=1", "tfs_server_log_files: 1", "number of log files", {"log_files": 1}),
        ("--log-driver=json-file", "nothing", "logs", {}),
        ("--security-opt=no-new-privileges", "nothing", "always", {}),
        ("--security-opt=no-new-privileges:true", "nothing", "always", {}),
        ("--publish=8500:8500", "tfs_server_grpc_port: 8500", "tfs_server_address", {"grpc_port": 8500}),
        ("--publish=65535:8501", "tfs_server_rest_port: 65535", "tfs_server_address", {"rest_port": 65535}),
        ("--publish=8501", "tfs_server_rest_port: 0", "tfs_server_address", {"rest_port": 0}),
        (
            "--publish=10.0.0.1:80:8500",
            "tfs_server_grpc_port: 80 with tfs_server_address: 10.0.0.1",
            "10.0.0.1",
            {"grpc_port": 80, "address": "10.0.0.1"},
        ),
        (
            "--publish='[::1]:80:8501/tcp'",
            "tfs_server_rest_port: 80 with tfs_server_address: ::1",
            "[::1]",
            {"rest_port": 80, "address": "::1"},
        ),
        ("--cpus=.5", "tfserving_cpus: .5 (a CPU set)", "CFS quota", {}),
        ("--cpus=2.", "tfserving_cpus: 2. (a CPU set)", "CFS quota", {}),
        ("--cpus=1500m", "tfserving_cpus: 1.5 (a CPU set)", "CFS quota", {}),
        ("--cpuset-cpus=0,2-3", "tfserving_cpus: 3 (a CPU set)", "tfs_server_cpu_set", {}),
        ("--volume=/srv/m:/models/m:ro", "source of the model in tfserving_models", "published on the host", {}),
        ("--volume=/srv/all:/models", "source of the model in tfserving_models", "published on the host", {}),
        ("--volume=/elsewhere:/models/m/", "source of the model in tfserving_models", "published", {}),
    ],
)
def test_what_an_option_is_taken_over_as(line, choice, word, serve):
    made = understood(line)
    assert made[0] == choice and word in made[1] and made[2] == serve


@pytest.mark.parametrize(
    ("key", "target"),
    [(key, target) for key in ("source", "src") for target in ("target", "destination", "dst")],
)
def test_a_mount_has_these_names_for_its_ends(key, target):
    choice, _reason, _serve = understood(f"--mount type=bind,{key}=/srv/m,{target}=/models/x,readonly")
    assert choice == "source of the model in tfserving_models"
    _reason, remedy = refused(f"--mount={key}=/srv/other,{target}=/models/x")
    assert "tfserving_models: [{name: x, source: /srv/other}]" in remedy


@pytest.mark.parametrize(
    ("lines", "remedy"),
    [
        # The image's entry point serves $MODEL_BASE_PATH/$MODEL_NAME, /models/model where nothing is set (tensorflow/serving, tf_serving_entrypoint.sh).
        (["-v /srv/x:/models/x"], "tfserving_models: [{name: x, source: /srv/x}]"),
        (["-v /srv/x:/srv/all/x", "-e MODEL_BASE_PATH=/srv/all/"], "tfserving_models: [{name: x, source: /srv/x}]"),
        (
            ["-v /srv/x:/elsewhere", "--model_base_path=/elsewhere/"],
            "tfserving_models: [{name: elsewhere, source: /srv/x}]",
        ),
        (["-v /srv/x:/models/x", "--model_name=y"], "tfserving_models: [{name: y, source: /srv/x}]"),
        (["-v /srv/x:/models/x", "-e MODEL_NAME=y"], "tfserving_models: [{name: y, source: /srv/x}]"),
        (["-v /srv/x:/srv/x"], "tfs_server_session_config_file and tfs_server_ssl_config_file"),
        (["-v /srv/x:/modelsx"], "tfs_server_session_config_file and tfs_server_ssl_config_file"),
    ],
)
def test_a_directory_that_is_mounted_is_no_model_of_the_request(lines, remedy):
    found = {one["subject"]: one for one in planned(*lines)["refusals"]}
    assert remedy in found[f"option {lines[0]}"]["remedy"] and "/srv/x" in found[f"option {lines[0]}"]["reason"]


@pytest.mark.parametrize(
    ("line", "reason", "remedy"),
    [
        ("--name=.hidden", "'.hidden'", "tfs_server_name"),
        ("--name=x", "'x'", "tfs_server_name"),
        (f"--name={'n' * 65}", "n" * 65, "tfs_server_name"),
        ("--user=root", "'root'", "tfs_server_user to UID or UID:GID"),
        ("--restart=sometimes", "'sometimes'", "tfs_server_restart_policy"),
        ("--network=none", "'none'", "tfs_server_address, tfs_server_grpc_port and tfs_server_rest_port"),
        (
            "--network=container:db",
            "'container:db'",
            "tfs_server_address, tfs_server_grpc_port and tfs_server_rest_port",
        ),
        ("--network=service:db", "'service:db'", "tfs_server_address, tfs_server_grpc_port and tfs_server_rest_port"),
        ("--network=name=models", "'name=models'", "tfs_server_network"),
        ("--log-opt max-size=1023k", "'max-size=1023k'", "tfs_server_log_max_mib and tfs_server_log_files"),
        ("--log-opt max-file=0", "'max-file=0'", "tfs_server_log_max_mib and tfs_server_log_files"),
        ("--log-opt max-file=x", "'max-file=x'", "tfs_server_log_max_mib and tfs_server_log_files"),
        ("--log-opt tag=x", "'tag=x'", "tfs_server_log_max_mib and tfs_server_log_files"),
        ("--log-driver=syslog", "'syslog' is not supported: the collection reads the logs", "Leave it out"),
        ("--security-opt=no-new-privileges=false", "'no-new-privileges=false'", "Leave it out"),
        ("--security-opt=no-new-privileges:false", "'no-new-privileges:false'", "Leave it out"),
        ("--security-opt=no-new-privileges=0", "'no-new-privileges=0'", "Leave it out"),
        ("--security-opt=seccomp=unconfined", "'seccomp=unconfined'", "Leave it out"),
        ("--runtime=kata", "'kata'", "Leave it out"),
        ("--device=/dev/fuse", "'/dev/fuse'", "Leave it out"),
        ("--privileged", "privileges on its host", "tfserving_gpu"),
        ("--ulimit=nofile=1024", "nofile=1024", "default-ulimits"),
        ("--publish=80:8500/udp", "'80:8500/udp'", "tfs_server_grpc_port and tfs_server_rest_port"),
        (
            "--publish=80:81",
            "8500 and 8501 in its container, not on 81",
            "tfs_server_grpc_port and tfs_server_rest_port",
        ),
        ("--publish=65536:8500", "65536", "Leave it out"),
        ("--cpus=0", "'0'", "tfserving_cpus"),
        ("--cpus=0m", "'0m'", "tfserving_cpus"),
        ("--cpus=x", "'x'", "tfserving_cpus"),
        ("--cpuset-cpus=3-1", "'3-1'", "tfserving_cpus"),
        ("--cpuset-cpus=x", "'x'", "tfserving_cpus"),
        ("--env=HOME", "HOME comes from the shell", "set HOME in tfserving_environment"),
        ("--env=HOME", "HOME comes from the shell", "tfs_server_secret_environment"),
    ],
)
def test_what_an_option_is_refused_with(line, reason, remedy):
    found = refused(line)
    assert reason in found[0] and remedy in found[1] and found[1].startswith("Leave it out of tfserving_options")


@pytest.mark.parametrize("line", ["--gpus=all", "--gpus='\"device=0,1\"'", "--runtime=nvidia", "--device=/dev/nvidia0"])
def test_an_option_that_hands_in_gpus_requires_them(line):
    made = planned(line)
    ((choice, reason),) = options(made).values()
    assert choice.startswith("tfserving_gpu: require") and ("devices" in reason or "--gpus all" in choice)
    assert ("nvidia-docker 2" in reason) == (line == "--runtime=nvidia")
    assert [one["subject"] for one in made["refusals"]] == ["GPU"]


@pytest.mark.parametrize(
    ("name", "choice", "release", "gpu"),
    [
        ("tensorflow/serving:2.19.1", "tfserving_version: 2.19.1", "2.19.1", False),
        ("docker.io/tensorflow/serving:2.19.1", "tfserving_version: 2.19.1", "2.19.1", False),
        ("tensorflow/serving:2.19.1-gpu", "tfserving_version: 2.19.1 with tfserving_gpu: require", "2.19.1", True),
        ("tensorflow/serving", "the newest release in the release table", None, False),
        ("tensorflow/serving:latest", "the newest release in the release table", None, False),
        ("tensorflow/serving:latest-gpu", "the newest release in the release table", None, True),
    ],
)
def test_an_official_image_names_a_release(name, choice, release, gpu):
    made = planned(f"docker run {name}")
    assert options(made)[f"docker run {name}"][0] == choice
    assert [one["subject"] for one in made["refusals"]] == (["GPU"] if gpu else [])
    assert (
        made["release"] == release or release is None and "tfserving_version" in options(made)[f"docker run {name}"][1]
    )


def test_an_image_of_the_user_is_taken_and_a_tag_that_is_no_release_refused():
    choice, reason, _serve = understood("image: registry.example/serving:1", version="2.20.0")
    assert choice == "tfserving_image: registry.example/serving:1" and "your own" in reason
    reason, remedy = refused("image: tensorflow/serving:nightly")
    assert "tensorflow/serving:nightly" in reason and "tfserving_version" in remedy and "tfserving_image" in remedy


def test_the_ports_of_the_flags_are_those_inside_of_the_container():
    made = planned("-p 80:9000 -p 81:9001 -p 82:8500 --port=9000 --rest_api_port=9001")
    assert made["server"]["serve"] == {"grpc_port": 80, "rest_port": 81}
    assert "9000 and 9001 in its container, not on 8500" in made["refusals"][0]["reason"]


@pytest.mark.parametrize("program", ["env", "sh", "docker", "tensorflow_model_server", "taskset", "sleep"])
def test_a_value_that_ends_as_a_program_is_a_value(program):
    assert "tfserving_environment" in refused(f"--env-file=/srv/{program}")[1]
    assert planned(f"TF_LIBRARY=/opt/{program}")["server"]["environment"]["TF_LIBRARY"] == f"/opt/{program}"


@pytest.mark.parametrize("target", ["/models/m", "/models/m/"])
def test_a_model_is_known_by_the_directory_that_it_is_mounted_at(target):
    """Whatever the entry point is asked to serve."""
    line = f"-v /elsewhere:{target}"
    assert options(planned(line, "-e MODEL_NAME=n"))[line][0] == "source of the model in tfserving_models"


def test_plans_of_start_lines_are_data():
    assert json.loads(json.dumps(planned("-m 1g", "--publish=80:80"))) == planned("-m 1g", "--publish=80:80")
