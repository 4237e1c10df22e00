# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Translate options of docker run, and images, for a server of this collection: applied, without effect, or refused with the variable to set."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._capability import limits
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions

LEAVE_OUT = "Leave it out of tfserving_options"
GRPC_PORT, REST_PORT = 8500, 8501
_LEAST_MIB = 64
_RELEASE_TAG = re.compile(r"(\d+\.\d+(?:\.\d+)?)(-gpu)?")

# Options without effect here: name -> why.
_NO_EFFECT = {
    "detach": "a server always runs in the background",
    "interactive": "a server reads no input",
    "tty": "a server has no terminal",
    "replace": "the collection replaces its containers itself",
    "rm": "containers that are replaced are removed",
    "init": "an init runs in each container",
    "sig-proxy": "a server always runs in the background",
    "attach": "a server always runs in the background",
    "quiet": "the collection does not show the progress of a pull",
    "help": "it only prints",
    "disable-content-trust": "name the image by digest",
    "no-healthcheck": "the collection checks its servers itself",
    "read-only": "the container's root is read-only unless tfs_server_read_only is false",
    "entrypoint": "the collection starts the server itself",
    "workdir": "the server uses absolute paths",
    "hostname": "the server does not use its host's name",
    "label": "the collection labels its containers itself",
    "pull": "an image is pulled if it is missing",
    "expose": "ports are published by tfs_server_grpc_port and tfs_server_rest_port",
    "cap-drop": "all capabilities are dropped except those in tfs_server_capabilities",
    "shm-size": "TensorFlow Serving does not use /dev/shm",
    "ipc": "TensorFlow Serving does not share memory with other processes",
    "memory-swap": "a memory limit counts for memory and swap together",
    "stop-signal": "a server is stopped by SIGTERM",
    "cidfile": "the collection finds its containers by their labels",
    "detach-keys": "a server has no terminal",
    "stop-timeout": "the collection waits for requests in flight",
    "domainname": "the server does not use it",
    "tmpfs": "/tmp is already a tmpfs",
    "platform": "the plan chooses the image for the host",
}
# Options that correspond to variables: name -> what to set.
_VARIABLES = {
    "cap-add": "tfs_server_capabilities: [{value}]",
    "memory-reservation": "tfs_server_memory_mib",
    "cpu-shares": "tfserving_cpus",
    "cpu-quota": "tfserving_cpus",
    "cpu-period": "tfserving_cpus",
    "cpuset-mems": "tfserving_cpus",
    "cpu-count": "tfserving_cpus",
    "cpu-percent": "tfserving_cpus",
    "env-file": "tfserving_environment, or tfs_server_secret_environment for secrets",
    "publish-all": "tfs_server_grpc_port and tfs_server_rest_port",
    "group-add": "tfs_server_user",
    "userns": "tfs_server_user",
    "network-alias": "tfs_server_network",
    "net-alias": "tfs_server_network",
}
_HEALTH = "the collection checks its servers itself"


@dataclass(frozen=True)
class Taken:
    """An option that is applied. today: what replaces it. sets: keys of the request; `serve` contains defaults of the role tfs_server."""

    today: str
    reason: str
    sets: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Lost:
    """An option that is not applied, with the reason and what to do."""

    reason: str
    remedy: str = LEAVE_OUT


@dataclass(frozen=True)
class Context:
    """The rest of the lines: flags, environment, the models of the request, and the variables that are expanded elsewhere ($NAME)."""

    flags: dict[str, Any]
    environment: dict[str, Any]
    models: tuple[Any, ...] = ()
    inserted: frozenset[Any] = frozenset()


def answer(name: str, value: Any, context: Context) -> Any:
    """Return Taken or Lost for an option of docker run. value: None if it has none."""
    of_its_own = _ANSWERS.get(name)
    if of_its_own:
        return of_its_own(value or "", context)
    if name in _NO_EFFECT or name.startswith("health-"):
        return Taken("nothing", _NO_EFFECT.get(name, _HEALTH))
    if name in _VARIABLES:
        variable = _VARIABLES[name].format(value=value)
        return Lost(f"--{name} of docker run is not converted", f"{LEAVE_OUT}, and set {variable}")
    return Lost(f"--{name} of docker run is not supported: this collection does not set it for its containers")


def image(name: str) -> Taken | Lost:
    """Return Taken or Lost for an image."""
    tag = None if "@" in name else questions.official_tag(name)
    if tag is None:
        return Taken(f"tfserving_image: {name}", "your own image", {"image": name})
    release = _RELEASE_TAG.fullmatch(tag)
    gpu = {"gpu": "require"} if tag.endswith("-gpu") else {}
    if release:
        gpu_too = " with tfserving_gpu: require" if gpu else ""
        return Taken(
            f"tfserving_version: {release.group(1)}{gpu_too}",
            "the plan chooses the image of this release",
            dict(gpu, version=release.group(1)),
        )
    if tag.startswith("latest"):
        return Taken(
            "the newest release in the release table",
            "latest changes with every release; set tfserving_version to pin a release",
            gpu,
        )
    return Lost(
        f"{name!r} does not name a release",
        f"{LEAVE_OUT}, and set tfserving_version to a release, or tfserving_image to this image",
    )


def mib(text: str) -> int | None:
    """Return the mebibytes of a size in the spelling of Docker, Kubernetes or compose, or None."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", text.strip().lower())
    return int(float(found.group(1)) * 1024 ** " kmgt".index(found.group(2) or " ")) >> 20 if found else None


def _cpus(text: str, _context: Context) -> Any:
    found = re.fullmatch(r"(\d*\.?\d+|\d+\.)(m?)", text.strip())
    count = float(found.group(1)) / (1000 if found.group(2) else 1) if found else 0
    if not found or not 0 < count <= limits.MOST_CPUS:
        return Lost(f"{text!r} is not a number of CPUs", f"{LEAVE_OUT}, and set tfserving_cpus")
    spelt = found.group(1) if not found.group(2) else f"{count:g}"
    return Taken(
        f"tfserving_cpus: {spelt} (a CPU set)",
        "TensorFlow does not see a CFS quota and would start threads for every CPU of the host",
        {"cpus": count},
    )


def _cpu_set(text: str, _context: Context) -> Any:
    try:
        count = len(limits.parse_cpu_list(text))
    except FleetError:
        count = 0
    if not count:
        return Lost(f"{text!r} is not a list of CPUs, as in 0-3,8", f"{LEAVE_OUT}, and set tfserving_cpus")
    return Taken(
        f"tfserving_cpus: {count} (a CPU set)",
        "the plan chooses which CPUs, among those that this host's processes may use; tfs_server_cpu_set names them",
        {"cpus": float(count)},
    )


def _memory(text: str, _context: Context) -> Any:
    size = mib(text)
    if size is None or size < _LEAST_MIB:
        return Lost(
            f"{text!r} is not a memory limit of {_LEAST_MIB} MiB or more", f"{LEAVE_OUT}, and set tfs_server_memory_mib"
        )
    return Taken(f"tfs_server_memory_mib: {size}", "the server's memory limit", {"serve": {"memory_mib": size}})


def _gpus(_text: Any, _context: Context) -> Any:
    return Taken("tfserving_gpu: require", "the plan names the devices itself", {"gpu": "require"})


def _runtime(text: str, _context: Context) -> Any:
    if text == "nvidia":
        return Taken(
            "tfserving_gpu: require (--gpus all)",
            "that runtime belongs to nvidia-docker 2, archived in 2024; engines provide GPUs themselves since Docker 19.03",
            {"gpu": "require"},
        )
    return Lost(f"the runtime {text!r} is not supported: the engine's default runs the server")


def _device(text: str, context: Context) -> Any:
    return (
        _gpus(text, context)
        if "nvidia" in text
        else Lost(f"the device {text!r} is not supported: servers get no devices except GPUs")
    )


def _publish(text: str, context: Context) -> Any:
    found = re.fullmatch(
        r"(?:(?P<address>\d+(?:\.\d+){3}|\[[0-9a-fA-F:]*\]):)?(?:(?P<outside>\d*):)?(?P<inside>\d+)(?:/tcp)?", text
    )
    if not found:
        return Lost(
            f"{text!r} is not a single published TCP port",
            f"{LEAVE_OUT}, and set tfs_server_grpc_port and tfs_server_rest_port",
        )
    inside, outside, address = int(found["inside"]), int(found["outside"] or 0), found["address"]
    known = {
        _port(context.flags.get("rest_api_port"), REST_PORT): "rest_port",
        _port(context.flags.get("port"), GRPC_PORT): "grpc_port",
    }
    if inside not in known:
        return Lost(
            f"the server listens on {' and '.join(map(str, sorted(known)))} in its container, not on {inside}",
            f"{LEAVE_OUT}, and set tfs_server_grpc_port and tfs_server_rest_port",
        )
    if outside > 65535:
        return Lost(f"{outside} is not a TCP port")
    where = {"address": address.strip("[]")} if address else {}
    reason = (
        f"published on {address}"
        if address
        else "published on the address in tfs_server_address, 127.0.0.1; docker run publishes on all (0.0.0.0)"
    )
    at = f" with tfs_server_address: {where['address']}" if where else ""
    return Taken(f"tfs_server_{known[inside]}: {outside}{at}", reason, {"serve": {known[inside]: outside, **where}})


def _port(given: Any, default: Any) -> Any:
    return int(given) if str(given).isdecimal() else default


def _environment(text: str, _context: Context) -> Any:
    return Lost(
        f"the value of {text} comes from the shell or a reference, and is not known here",
        f"{LEAVE_OUT}, and set {text} in tfserving_environment, or, "
        "if it is a secret, in tfs_server_secret_environment",
    )


def _mount(text: str, context: Context) -> Any:
    pairs = (
        dict(part.partition("=")[::2] for part in text.split(","))
        if re.search(r"(^|,)(type|source|src)=", text)
        else {}
    )
    source, _colon, rest = text.partition(":")
    target = rest.partition(":")[0]
    if pairs:
        source = pairs.get("source") or pairs.get("src") or ""
        target = pairs.get("target") or pairs.get("destination") or pairs.get("dst") or ""
    parent = str(context.environment.get("MODEL_BASE_PATH") or "/models")
    base = str(context.flags.get("model_base_path") or "")
    name = str(
        context.flags.get("model_name")
        or context.environment.get("MODEL_NAME")
        or posixpath.basename(target.rstrip("/"))
        or "model"
    )
    listed = any(
        isinstance(model, dict)
        and (model.get("source") == source or model.get("name") in (name, posixpath.basename(target.rstrip("/"))))
        for model in context.models
    )
    is_models = target.rstrip("/") in (parent.rstrip("/"), base.rstrip("/")) or target.startswith(
        f"{parent.rstrip('/')}/"
    )
    if listed or is_models and target.rstrip("/") == parent.rstrip("/") and context.models:
        return Taken(
            "source of the model in tfserving_models", "models are published on the host, and mounted from there"
        )
    if is_models:
        return Lost(
            f"{source} is mounted as a model, but tfserving_models does not list it",
            f"{LEAVE_OUT}, and set tfserving_models: [{{name: {name}, source: {source}}}]",
        )
    return Lost(
        f"{text!r} is not mounted: containers of this collection mount only their models and configuration",
        f"{LEAVE_OUT}; models belong to tfserving_models, other files to tfs_server_session_config_file and tfs_server_ssl_config_file",
    )


def _user(text: str, _context: Context) -> Any:
    if not re.fullmatch(r"\d+(:\d+)?", text):
        return Lost(f"{text!r} is not a numeric user", f"{LEAVE_OUT}, and set tfs_server_user to UID or UID:GID")
    return Taken(
        f"tfs_server_user: {text}",
        "the user that the server runs as, which must be able to read the models",
        {"serve": {"user": text}},
    )


def _name(text: str, _context: Context) -> Any:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{1,63}", text):
        return Lost(f"{text!r} is not a valid name for a server", f"{LEAVE_OUT}, and set tfs_server_name")
    return Taken(f"tfs_server_name: {text}", "the server's name", {"serve": {"name": text}})


def _restart(text: str, _context: Context) -> Any:
    policy = {"always": "unless-stopped", "unless-stopped": "unless-stopped", "no": "no", "false": "no"}.get(
        text, "on-failure" if text.startswith("on-failure") else None
    )
    if policy is None:
        return Lost(f"{text!r} is not a restart policy", f"{LEAVE_OUT}, and set tfs_server_restart_policy")
    reason = (
        "always would also restart a server that you stopped"
        if text == "always"
        else "when the engine restarts the server"
    )
    return Taken(f"tfs_server_restart_policy: {policy}", reason, {"serve": {"restart_policy": policy}})


def _network(text: str, _context: Context) -> Any:
    if text in ("host", "none") or text.startswith(("container:", "service:")):
        return Lost(
            f"the network {text!r} publishes no port, so a candidate cannot be checked while the server runs",
            f"{LEAVE_OUT}; tfs_server_address, tfs_server_grpc_port and tfs_server_rest_port set the address and the ports",
        )
    if not re.fullmatch(r"[\w.-]+", text):
        return Lost(f"{text!r} is not the name of a network", f"{LEAVE_OUT}, and set tfs_server_network")
    return Taken(
        f"tfs_server_network: {text}", "the engine's network that the container joins", {"serve": {"network": text}}
    )


def _log_option(text: str, _context: Context) -> Any:
    name, _equals, value = text.partition("=")
    if name == "max-size" and (mib(value) or 0) >= 1:
        return Taken(
            f"tfs_server_log_max_mib: {mib(value)}",
            "the maximum size of one log file",
            {"serve": {"log_max_mib": mib(value)}},
        )
    if name == "max-file" and value.isdecimal() and int(value):
        return Taken(f"tfs_server_log_files: {value}", "the number of log files", {"serve": {"log_files": int(value)}})
    return Lost(
        f"the log option {text!r} is not supported",
        f"{LEAVE_OUT}; tfs_server_log_max_mib and tfs_server_log_files limit the logs",
    )


def _log_driver(text: str, _context: Context) -> Any:
    if text == "json-file":
        return Taken("nothing", "the collection uses this driver because it reads the logs")
    return Lost(
        f"the log driver {text!r} is not supported: the collection reads the logs of its servers, which needs json-file"
    )


def _privileged(_text: Any, _context: Context) -> Any:
    return Lost(
        "--privileged is not supported: a server needs no privileges on its host",
        f"{LEAVE_OUT}; use tfserving_gpu for GPUs",
    )


def _security(text: str, _context: Context) -> Any:
    if text.startswith("no-new-privileges") and not text.endswith(("false", "=0")):
        return Taken("nothing", "the collection always sets it")
    return Lost(f"the security option {text!r} is not supported: servers run with the engine's own profiles")


def _ulimit(text: str, _context: Context) -> Any:
    return Lost(
        f"--ulimit {text} is not supported: servers have the engine's default limits",
        f"{LEAVE_OUT}, and set default-ulimits of the engine, if its defaults are too low",
    )


_ANSWERS = {
    "cpus": _cpus,
    "cpuset-cpus": _cpu_set,
    "memory": _memory,
    "gpus": _gpus,
    "runtime": _runtime,
    "device": _device,
    "publish": _publish,
    "env": _environment,
    "volume": _mount,
    "mount": _mount,
    "user": _user,
    "name": _name,
    "restart": _restart,
    "network": _network,
    "net": _network,
    "log-opt": _log_option,
    "log-driver": _log_driver,
    "privileged": _privileged,
    "security-opt": _security,
    "ulimit": _ulimit,
}
