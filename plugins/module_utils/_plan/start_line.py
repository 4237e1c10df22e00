# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read start lines in the forms that users have: scripts, Docker files, compose files, Kubernetes manifests, units of systemd and supervisord.

The result is a list of Items (_plan/shell_words.py). _plan/option_lines.py and _plan/docker_options.py determine what
an Item means.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._plan import shell_words
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.shell_words import Item
from ansible_collections.tfserving.fleet.plugins.module_utils._release import table
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import server_options

# docker run's equivalents of the keys of a compose file's service, and of a Kubernetes container.
_COMPOSE = {
    "container_name": "name",
    "cpus": "cpus",
    "cpuset": "cpuset-cpus",
    "cpu_shares": "cpu-shares",
    "cpu_quota": "cpu-quota",
    "mem_limit": "memory",
    "mem_reservation": "memory-reservation",
    "memswap_limit": "memory-swap",
    "shm_size": "shm-size",
    "restart": "restart",
    "user": "user",
    "network_mode": "network",
    "runtime": "runtime",
    "pids_limit": "pids-limit",
    "ipc": "ipc",
    "pid": "pid",
    "hostname": "hostname",
    "working_dir": "workdir",
    "workingDir": "workdir",
    "stop_signal": "stop-signal",
    "stop_grace_period": "stop-timeout",
    "platform": "platform",
    "pull_policy": "pull",
    "imagePullPolicy": "pull",
    "runAsUser": "user",
    "memory": "memory",
    "cpu": "cpus",
    "ports": "publish",
    "volumes": "volume",
    "env_file": "env-file",
    "cap_add": "cap-add",
    "cap_drop": "cap-drop",
    "devices": "device",
    "dns": "dns",
    "extra_hosts": "add-host",
    "tmpfs": "tmpfs",
    "security_opt": "security-opt",
    "gpus": "gpus",
    "networks": "network",
    "nvidia.com/gpu": "gpus",
    "ulimits": "ulimit",
    "sysctls": "sysctl",
    "expose": "expose",
    "labels": "label",
    "group_add": "group-add",
    "cgroup_parent": "cgroup-parent",
    "domainname": "domainname",
    "links": "link",
    "userns_mode": "userns",
    "mac_address": "mac-address",
}
_COMPOSE_SWITCHES = {
    "privileged": "privileged",
    "read_only": "read-only",
    "readOnlyRootFilesystem": "read-only",
    "init": "init",
    "tty": "tty",
    "stdin_open": "interactive",
    "oom_kill_disable": "oom-kill-disable",
    "stdin": "interactive",
}
# Keys of a pod that apply to each of its containers.
_OF_HOST = {"hostNetwork": "network", "hostIPC": "ipc", "hostPID": "pid"}
# The names of Docker's restart policies in compose.
_CONDITIONS = {"none": "no", "any": "always"}
_COMMANDS = ("command", "args", "entrypoint")
# Keys that only contain others, or do not describe how the server runs.
_SILENT = frozenset(
    """
    version services apiVersion kind metadata spec template containers resources limits requests reservations deploy name healthcheck depends_on
    livenessProbe readinessProbe startupProbe replicas selector matchLabels app build context dockerfile logging driver options securityContext value
    valueFrom containerPort hostPort protocol mountPath mode x-tfserving profiles lifecycle
    terminationMessagePath terminationMessagePolicy
    annotations develop attach     allowPrivilegeEscalation runAsNonRoot stdinOnce key optional""".split()
)


_VARIABLE = {"name", "value", "valueFrom"}
_KEY = re.compile(r"\"?([A-Za-z_][\w.\-/]*)\"?:(?:\s+(.*))?", re.DOTALL)
_COMMAND = re.compile(r"(image|command|args|entrypoint)\s+=\s+(.*)", re.DOTALL)
_DOCKERFILE = re.compile(
    r"(CMD|ENTRYPOINT|ENV|ARG|FROM|EXPOSE|USER|WORKDIR|RUN|COPY|ADD|LABEL|VOLUME|HEALTHCHECK|SHELL|STOPSIGNAL|ONBUILD|MAINTAINER)\s+(.*)",
    re.DOTALL,
)
# docker run's equivalents of settings of a systemd unit (systemd.exec(5), systemd.resource-control(5)). Limit* and
# Exec* are recognized by their beginnings.
_UNIT = {
    "EnvironmentFile": "env-file",
    "User": "user",
    "Restart": "restart",
    "WorkingDirectory": "workdir",
    "CPUAffinity": "cpuset-cpus",
    "CPUQuota": "cpus",
    "MemoryMax": "memory",
    "MemoryLimit": "memory",
    "MemoryHigh": "memory-reservation",
    "CPUShares": "cpu-shares",
    "CPUWeight": "cpu-shares",
    "TasksMax": "pids-limit",
    "OOMScoreAdjust": "oom-score-adj",
    "KillSignal": "stop-signal",
    "TimeoutStopSec": "stop-timeout",
}
_SECTION = re.compile(r"\[[\w:.-]+\]")
_UNIT_LINE = re.compile(r"([A-Z][A-Za-z]+[a-z]\w*)\s*=\s*(.*)", re.DOTALL)
_SETTING = re.compile(r"([a-z_]+)\s*=\s*(.*)", re.DOTALL)
# A list with a name, as in JSON, HCL, TOML and Python.
_NAMED_LIST = re.compile(r"\"?([A-Za-z_]\w*)\"?\s*[:=]\s*(\[.*\])[,;]?", re.DOTALL)
# A variable of Kubernetes on two lines, and the source of its value.
_TWO_LINES = re.compile(
    r"^[ \t]*-?[ \t]*name:[ \t]*[\"']?(\w+)[\"']?[ \t]*\r?\n[ \t]*value(From)?:[ \t]*(.*)$", re.MULTILINE
)
# How cmd, PowerShell and csh set a variable.
_ASSIGNED = re.compile(r"(?:(?i:set)\s+(?=\"?\w+=)|\$[Ee]nv:|setenv\s+)\"?(\w+)(?:\s*=\s*|\s+)(.*)", re.DOTALL)
# What opens or closes a list or a block of lines.
_BRACKET = re.compile(r"\"?\w*\"?\s*[:=]?\s*[\[{(]|[\]})]+[,;]?")


def items(given: Any) -> list[Item]:
    """Return the Items of a user's start lines: a text of one or more lines, a list of words, or a mapping from a compose file or a manifest."""
    if isinstance(given, dict):
        return list(_variables([given]) if "name" in given and set(given) <= _VARIABLE else _of_mapping(given))
    if isinstance(given, (list, tuple)):
        return (
            [item for part in given for item in items(part)]
            if any(isinstance(part, dict) for part in given)
            else shell_words.of_words([str(part) for part in given])
        )
    text = str(given).strip().rstrip(",")
    if text.startswith("{"):
        with contextlib.suppress(ValueError):
            return items(json.loads(text))
    text = _TWO_LINES.sub(lambda found: f"-e {found[1]}" if found[2] else f"{found[1]}: {found[3]}", str(given))
    section, found = None, []
    for line in map(str.strip, shell_words.joined(text)):
        if _SECTION.fullmatch(line):
            section = line.strip("[]")
        elif line:
            found += _of_line(line, section)
    return found


def _of_line(text: str, section: str | None = None) -> list[Item]:
    """Return the Items of one line without its prefixes. section: of the unit or configuration that contains it, or None."""
    while re.match(r"[-$>]\s+\S", text):
        text = text[1:].lstrip()
    text = text.rstrip("\\").rstrip()
    found = _DOCKERFILE.fullmatch(text)
    if found:
        return _of_docker_file(*found.groups())
    named = _NAMED_LIST.fullmatch(text)
    if text.startswith("[") or named:
        return shell_words.of_words(_listed(named[2] if named else text))
    assigned = _ASSIGNED.fullmatch(text)
    if assigned:
        return [shell_words.environment(assigned[1], assigned[2].strip("\"'"))]
    if _BRACKET.fullmatch(text):
        return []
    found = _UNIT_LINE.fullmatch(text)
    if found and (section or found.group(1) in (*_UNIT, "Environment") or found.group(1).startswith(("Exec", "Limit"))):
        return _of_unit(*found.groups())
    found = _SETTING.fullmatch(text) if section else None
    if found:
        return _of_setting(*found.groups())
    found = _KEY.fullmatch(text) or _COMMAND.fullmatch(text)
    if found and not text.startswith(("http:", "https:")):
        return list(_of_key(found.group(1), _plain(found.group(2))))
    return shell_words.of_line(text)


def _of_unit(key: str, value: Any) -> list[Item]:
    """Return the Items of a systemd setting. An empty value resets an earlier line, and has no Items that set something."""
    if key == "Environment":
        return shell_words.of_words(shell_words.split(value))
    if key == "ExecStart":
        return _of_line(value.lstrip("-@:+!"))
    if key.startswith("Limit"):
        return [shell_words.docker("ulimit", f"{key[len('Limit') :].lower()}={value}")]
    if key == "CPUQuota" and value.rstrip("%").isdecimal():
        value = f"{int(value.rstrip('%')) / 100:g}"
    known = _UNIT.get(key)
    return [shell_words.docker(known, value)] if known and value else [Item("silent", key, None, f"{key}={value}")]


def _of_setting(key: str, value: Any) -> list[Item]:
    """Return the Items of a setting of supervisord."""
    if key == "command":
        return _of_line(value)
    if key == "environment":
        return shell_words.of_words(shell_words.split(re.sub(r",(?=\s*\w+=)", " ", value)))
    return [shell_words.docker("user", value) if key == "user" else Item("silent", key, None, f"{key}={value}")]


def _plain(text: str) -> str | None:
    """Return a YAML value on one line, without its comment, or None."""
    text = re.sub(r"\s+#.*$", "", text or "").strip().rstrip(",")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text if text not in ("", "|", ">", "|-", ">-", "{}", "[]") else None


def _of_docker_file(instruction: str, rest: str) -> list[Item]:
    if instruction in ("CMD", "ENTRYPOINT"):
        return _of_line(rest)
    if instruction == "FROM":
        return [shell_words.image(next(word for word in rest.split() if not word.startswith("--")))]
    if instruction == "USER":
        return [shell_words.docker("user", rest.strip())]
    if instruction == "ENV":
        words = shell_words.split(rest)
        return (
            [shell_words.environment(words[0], " ".join(words[1:]))]
            if len(words) > 1 and "=" not in words[0]
            else shell_words.of_words(words)
        )
    if instruction == "RUN" and shell_words.SERVERS[0] in rest and "echo" in rest:
        script = rest[rest.index(shell_words.SERVERS[0]) :].replace("\\n", " ").partition('"$@"')[0]
        return shell_words.of_line(script.partition("'")[0])
    return [Item("silent", instruction, None, f"{instruction} {rest}")]


def _listed(text: str) -> list[str]:
    """Return the words of a list in brackets, as in JSON or YAML."""
    text = text.rstrip(", ")
    try:
        return [str(word) for word in json.loads(text)]
    except (ValueError, TypeError):
        return shell_words.split(re.sub(r",(?=\s|$)", " ", text.strip("[]")))


def _of_key(key: str, value: Any) -> list[Item]:
    """Return the Items of one line, key: value, of a compose file, a manifest, or a list of flags in YAML."""
    if key in _COMMANDS:
        return _of_line(value) if value else []
    if key == "image":
        return [shell_words.image(value)] if value else []
    if key in ("max-size", "max-file"):
        return [shell_words.docker("log-opt", f"{key}={value}")]
    if key in _COMPOSE_SWITCHES:
        return [shell_words.docker(_COMPOSE_SWITCHES[key], None)] if str(value).lower() in ("true", "yes", "on") else []
    if key in _OF_HOST:
        return [shell_words.docker(_OF_HOST[key], "host")] if str(value).lower() == "true" else []
    if key in _COMPOSE:
        return [shell_words.docker(_COMPOSE[key], value)] if value is not None else []
    if key in _SILENT or value is None:
        return []
    if key in table.FLAGS:
        return [Item("flag", key, server_options.spelt(value), f"--{key}={shlex.quote(server_options.spelt(value))}")]
    if shell_words.VARIABLE.fullmatch(key) and key.upper() == key:
        return [shell_words.environment(key, server_options.spelt(value))]
    return [Item("word", key, None, f"{key}: {value}")]


def _of_mapping(given: Any) -> Iterator[Item]:
    for service in _services(given):
        yield from _of_service(service)


def _services(given: Any) -> list[Any]:
    """Return the services or containers of a document that look like a model server, or all of them if none does."""
    named = all(isinstance(one, dict) and {"image", *_COMMANDS} & set(one) for one in given.values())
    listed = given if named else given.get("services")
    found = (
        [one for one in listed.values() if isinstance(one, dict)]
        if isinstance(listed, dict)
        else list(_containers(given)) or [given]
    )
    serving = [
        one
        for one in found
        if re.search(r"serving|tensorflow_model_server", str([one.get(key) for key in ("image", *_COMMANDS)]))
    ]
    return serving or found


def _containers(given: Any) -> Iterator[Any]:
    """Return the containers of a manifest, each with the settings of its pod."""
    inner = given.values() if isinstance(given, dict) else given if isinstance(given, list) else ()
    listed = given.get("containers") if isinstance(given, dict) else None
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict):
            yield {
                **{key: given[key] for key in _OF_HOST if key in given},
                **one,
                "securityContext": {**(given.get("securityContext") or {}), **(one.get("securityContext") or {})},
            }
    for part in inner:
        if part is not listed:
            yield from _containers(part)


def _of_service(service: Mapping[str, Any]) -> Iterator[Item]:
    for key, value in service.items():
        if key in _COMMANDS or value is None:
            continue
        if key in ("environment", "env"):
            yield from _variables(value)
        elif key == "envFrom":
            yield from (shell_words.docker("env-file", json.dumps(one, sort_keys=True)) for one in _list(value))
        elif key == "ports":
            yield from (shell_words.docker("publish", port) for port in map(_port, _list(value)) if port)
        elif key in ("volumes", "volumeMounts"):
            yield from (shell_words.docker("volume", _mount(one)) for one in _list(value))
        elif key == "deploy" and isinstance(value, dict):
            yield from _of_service({"resources": value.get("resources")})
            condition = (value.get("restart_policy") or {}).get("condition")
            yield from [shell_words.docker("restart", _CONDITIONS.get(condition, condition))] if condition else []
        elif key == "resources" and isinstance(value, dict):
            limits = value.get("limits")
            yield from _of_service(limits if isinstance(limits, dict) else {})
            reserved = value.get("reservations")
            if isinstance(reserved, dict) and reserved.get("devices"):
                yield shell_words.docker("gpus", "all")
        elif key == "securityContext" and isinstance(value, dict):
            yield from _of_service(
                {name: setting for name, setting in value.items() if name in _COMPOSE or name in _COMPOSE_SWITCHES}
            )
            capabilities = value.get("capabilities") or {}
            yield from _of_service({"cap_add": capabilities.get("add"), "cap_drop": capabilities.get("drop")})
        elif key == "logging" and isinstance(value, dict):
            yield from [shell_words.docker("log-driver", value["driver"])] if value.get("driver") else []
            yield from (
                shell_words.docker("log-opt", f"{name}={setting}")
                for name, setting in (value.get("options") or {}).items()
            )
        elif isinstance(value, dict) and key in _COMPOSE:
            yield from (
                shell_words.docker(_COMPOSE[key], name if setting in (None, {}) else f"{name}={setting}")
                for name, setting in value.items()
            )
        elif isinstance(value, list) and key in _COMPOSE:
            yield from (shell_words.docker(_COMPOSE[key], one) for one in value)
        elif not isinstance(value, (dict, list)):
            yield from _of_key(key, server_options.spelt(value))
        elif key not in _SILENT:
            yield Item("word", key, None, f"{key}: {json.dumps(value, sort_keys=True, default=str)}")
    words = [word for key in ("entrypoint", "command", "args") for word in _words_of(service.get(key))]
    yield from shell_words.of_words(words)


def _words_of(command: Any) -> list[str]:
    return (
        [server_options.spelt(word) for word in command]
        if isinstance(command, list)
        else []
        if command is None
        else [word for line in shell_words.joined(str(command)) for word in shell_words.split(line)]
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _variables(given: Any) -> Iterator[Item]:
    if isinstance(given, dict):
        given = [{"name": name, "value": value} for name, value in given.items()]
    for one in _list(given):
        if not isinstance(one, dict):
            name, equals, value = str(one).partition("=")
            yield shell_words.environment(name, value) if equals else shell_words.docker("env", name)
        elif one.get("value") is not None:
            yield shell_words.environment(one.get("name"), server_options.spelt(one["value"]))
        else:
            yield shell_words.docker("env", one.get("name"))


def _port(one: Any) -> str | None:
    """Return a published port in the spelling of docker run, or None for a port that is only inside a container."""
    if not isinstance(one, dict):
        return str(one)
    inside, outside = one.get("target") or one.get("containerPort"), one.get("published") or one.get("hostPort")
    return (
        ":".join(str(part) for part in (one.get("host_ip") or one.get("hostIP"), outside, inside) if part)
        if outside
        else None
    )


def _mount(one: Any) -> str:
    if not isinstance(one, dict):
        return str(one)
    return f"{one.get('source') or one.get('name')}:{one.get('target') or one.get('mountPath')}"
