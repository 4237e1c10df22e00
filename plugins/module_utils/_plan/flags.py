# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the server's flags, environment and CPU set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._capability.limits import format_cpu_list
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded import flags as embedded_flags
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.draft import Draft
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.host_view import Host
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions, table
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import served_models, server_options
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.configuration import LITE, PER_MODEL_BATCHING

_LEAST_GRPC_THREADS = 64
_MOST_GRPC_THREADS = 2048
_SPARE_GRPC_THREADS = 16
_PARALLELISM = ("tensorflow_session_parallelism", "tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism")

# Flags that the plan sets on every server whose release knows them, with the reason.
_REASONS = {
    "max_num_load_retries": "versions appear only when complete, so a failed load means a broken model: the server reports it at once, not after 5 minutes",
    "num_load_threads": "with the default of 0, one version that loads slowly or is retried delays all other versions, including those of other models",
    "enable_profiler": "the profiler answers anyone who can reach the serving port",
    "grpc_max_threads": "the server answers this many calls at once and rejects others (Server Threadpool Exhausted): "
    "at least 64, 4 for each CPU, and enough for two full batches",
}

# Flags that the role tfs_server sets from other variables, and the names of these. It takes the flags in
# server_options.BY_ROLE from those of the plan.
REFUSED = {
    "model_name": "name in tfserving_models",
    "model_base_path": "source in tfserving_models",
    "model_config_file": "tfserving_models",
    "grpc_socket_path": "tfs_server_grpc_socket_directory, a folder on the host",
    "version": "nothing instead: with this flag, the server prints its version and exits",
}

# Flags whose file is for a server in a container.
_OF_CONTAINERS = ("ssl_config_file", "monitoring_config_file")

TLS = "TLS covers only gRPC, REST is not encrypted; the file contains PEM texts, not paths"
# Flag -> (whether to warn of this value, the warning), for values that work, but not as users expect.
_WARNINGS = {
    "enable_profiler": (
        lambda value: value is True,
        "the profiler answers without authentication on the serving port",
    ),
    "max_num_load_retries": (
        lambda value: value > 0,
        "the server retries a model that cannot load for minutes, with closed ports; a reload over gRPC waits equally long",
    ),
    "ssl_config_file": (bool, TLS),
    "mixed_precision": (
        bool,
        "bfloat16 was slower on small models in measurements, and it changes results: check the accuracy",
    ),
    "model_config_file_poll_wait_seconds": (
        lambda value: value > 0,
        "at the next poll, the file overrides a reload over gRPC",
    ),
    "monitoring_config_file": (
        bool,
        "the role tfs_server writes this file itself: Prometheus's metrics at /monitoring/prometheus/metrics",
    ),
    "grpc_channel_arguments": (
        lambda value: any(key not in table.CHANNEL_ARGUMENTS for key, _value in questions.channel_arguments(value)),
        "gRPC ignores unknown keys; its channel_arg_names.h lists the known ones",
    ),
    "thread_pool_factory_config_file": (bool, "the open source server has a factory for it only in tests"),
    "allow_version_labels_for_unavailable_models": (
        lambda value: value is True,
        "it helps only with a label that the model does not have yet; the server always refuses a label that "
        "moves to a version added in the same change: add versions first, and set labels once they are AVAILABLE",
    ),
    "enable_serialization_as_tensor_content": (
        lambda value: value is True,
        "clients that read float_val find it empty",
    ),
}


def choose_cpus(draft: Draft, host: Host, wanted: dict[str, Any]) -> tuple[str | None, int]:
    """Return (CPU set as text or None for all, the number of whole CPUs to plan for)."""
    if wanted["cpus"] is not None:
        count = min(max(1, int(wanted["cpus"])), host.usable_cpus)
        chosen = format_cpu_list(host.affinity[:count])
        if count < int(wanted["cpus"]):
            draft.warn(f"tfserving_cpus is {wanted['cpus']:g}, but this host has only {count} usable CPUs")
        if chosen:
            draft.decide(
                "CPU set", chosen, f"{count} CPUs as a set: TensorFlow respects a CPU set, but ignores a CFS quota"
            )
        else:
            draft.decide(
                "CPU set", "all", f"planned for {count} CPUs; it is unknown which CPUs this host's processes may use"
            )
        return chosen or None, count
    if host.is_pinned:
        return draft.decide(
            "CPU set", format_cpu_list(host.affinity), "the CPUs that this host's processes may use"
        ), host.usable_cpus
    draft.decide("CPU set", "all", f"{host.usable_cpus} usable")
    return None, host.usable_cpus


def choose_environment(draft: Draft, host: Host, wanted: dict[str, Any], release: str, gpu: Any) -> dict[str, str]:
    """Return the environment variables of the server, {name: text}. gpu: the variables that its GPUs need; empty without GPUs."""
    chosen = dict(gpu)
    chosen.update({name: str(value) for name, value in wanted["environment"].items() if value is not None})
    given = chosen.get("TF_ENABLE_ONEDNN_OPTS")
    if given is not None and _switch(given) is None:
        draft.refuse(
            "environment TF_ENABLE_ONEDNN_OPTS",
            f"TensorFlow accepts 0, 1, false and true, and ignores {given!r}",
            "Leave it out of tfserving_environment, or set it to '0' or '1'",
            {"environment": {"TF_ENABLE_ONEDNN_OPTS": None}},
        )
        del chosen["TF_ENABLE_ONEDNN_OPTS"]
        given = None
    _say_of_variables(draft, chosen)
    if given is not None:
        draft.decide("oneDNN", "on" if _switch(given) else "off", "tfserving_environment")
    elif not questions.cell("onednn_available", release):
        draft.decide("oneDNN", "not available", f"the image of {release} is built without it")
    elif host.architecture not in table.IMAGES["architectures"]:
        draft.decide(
            "oneDNN", "as TensorFlow chooses", f"the release table does not cover oneDNN on {host.architecture}"
        )
    elif gpu:
        draft.decide("oneDNN", "as TensorFlow chooses", "it affects only operations that do not run on the GPU")
    elif questions.onednn_by_default(release, host.cpu_flags):
        draft.decide(
            "oneDNN", "on", "TensorFlow's default on this CPU (VNNI, BF16 or AMX); off is a candidate for tuning"
        )
        draft.warn(
            "oneDNN is on (TensorFlow's library of CPU kernels): if a model has convolutions, one request whose input has the wrong number of dimensions can "
            "crash the whole server; set TF_ENABLE_ONEDNN_OPTS: '0' in tfserving_environment, or check the shapes before requests reach it "
            "and accept the risk (tfs_server_accept_fragile)"
        )
    else:
        draft.decide("oneDNN", "off", "TensorFlow's default on this CPU; on is a candidate for tuning")
    return chosen


def onednn_is_on(host: Host, release: str, environment: dict[str, str]) -> bool:
    """Return whether the planned server uses oneDNN's operations."""
    asked = _switch(environment.get("TF_ENABLE_ONEDNN_OPTS"))
    return questions.onednn_by_default(release, host.cpu_flags) if asked is None else asked


def _switch(text: str | None) -> bool | None:
    """Return the value of a variable as TensorFlow interprets it: True, False, or None."""
    return {"1": True, "true": True, "0": False, "false": False}.get(str(text).lower())


def _say_of_variables(draft: Draft, environment: dict[str, str]) -> None:
    """Warn of variables that do not have the effect that users expect."""
    level = environment.get("TF_CPP_MIN_LOG_LEVEL", "0")
    if level.isdigit() and int(level) > 0:
        draft.warn(
            f"TF_CPP_MIN_LOG_LEVEL={level} hides the line about the CPU's instructions and what the server logs when it loads a model"
            + (", including load errors" if int(level) > 1 else "")
            + ": their absence from the log then means nothing"
        )
    threads = sorted(name for name in environment if name.startswith(("OMP_", "KMP_")))
    if threads:
        draft.warn(
            f"{', '.join(threads)}: the official server has no OpenMP, so they have no effect; set its threads with tensorflow_intra_op_parallelism and "
            "tensorflow_inter_op_parallelism"
        )


def without_own_options(draft: Draft, given: Any, backend: str, variable: str = "tfserving_flags") -> dict[str, Any]:
    """Return the flags of a variable without those that a deployment would refuse. Add a refusal for each of them that names what to set."""
    problems = {
        name: ("the role tfs_server sets this flag itself", f"Leave it out, and set {REFUSED[name]}")
        for name in given
        if name in REFUSED
    }
    if backend == "embedded":
        problems.update(
            (name, ("the embedded server does not have this flag", "Leave it out"))
            for name, value in given.items()
            if name in (*embedded_flags.NOT_BUILT, *_OF_CONTAINERS)
            and name in embedded_flags.FLAGS
            and value != embedded_flags.FLAGS[name][1]
        )
    for name, (reason, remedy) in sorted(problems.items()):
        draft.refuse(f"flag {name}", reason, f"{remedy} ({variable})", {"flags": {name: None}})
    return {name: value for name, value in given.items() if name not in problems}


def choose_flags(
    draft: Draft,
    host: Host,
    wanted: dict[str, Any],
    release: str,
    models: list[dict[str, Any]],
    cpus: int,
    environment: dict[str, str],
) -> dict[str, Any]:
    """Return the flags of the server that the release knows, {name without dashes: value}."""
    known = questions.flags(release)
    chosen = {name: value for name, value in _own_flags(draft, host, release, models, cpus).items() if name in known}
    given = _checked(draft, release, wanted["flags"])
    chosen.update(given)
    for name in sorted(given):
        draft.decide(f"flag {name}", server_options.spelt(given[name]), "set by tfserving_flags")
        warns, text = _WARNINGS.get(name, (lambda value: False, ""))
        if warns(given[name]):
            draft.warn(f"--{name}={server_options.spelt(given[name])}: {text}")
        if name in _PARALLELISM and given[name] > cpus:
            draft.warn(
                f"--{name}={given[name]}: more threads than the {cpus} usable CPUs lower throughput and double the tail latency"
            )
    lite = questions.tflite_flag(release)
    if lite and chosen.get(lite) and not any(model["form"].startswith("tflite") for model in models):
        draft.warn(
            f"--{lite}: the plan serves no model as TensorFlow Lite, and if a version has no {table.TFLITE['file']}, the server silently serves its "
            "SavedModel; optimize: tflite_dynamic_range converts the model and sets the flag"
        )
    return _consistent(draft, host, release, chosen, environment)


def _own_flags(draft: Draft, host: Host, release: str, models: list[dict[str, Any]], cpus: int) -> dict[str, Any]:
    batched = [model["batching"] for model in models if model["batching"]]
    derived = served_models.flags_of_models(models, release)
    chosen = {**dict.fromkeys(_REASONS), **derived, "grpc_max_threads": grpc_threads(batched, cpus)}
    for name, reason in _REASONS.items():
        if name in questions.flags(release):
            draft.decide(f"flag {name}", server_options.spelt(chosen[name]), reason)
    if "enable_profiler" not in questions.flags(release):
        draft.warn(
            f"the profiler of {release} answers without authentication on the serving port, and cannot be turned off before release "
            f"{questions.first_release_with_flag('enable_profiler')}"
        )
    if batched and "grpc_max_threads" not in questions.flags(release) and chosen["grpc_max_threads"] > 4 * cpus:
        draft.warn(
            f"{release} serves {4 * cpus} gRPC calls at once and has no flag to allow more, so gRPC alone cannot fill two batches: "
            f"lower max_batch_size, or use release {questions.first_release_with_flag('grpc_max_threads')} or later"
        )
    for name, reason in (
        (
            PER_MODEL_BATCHING,
            "the models have different batching: each version contains a batching_params.pbtxt, and "
            "a changed file takes effect only with a new version of the model",
        ),
        (LITE, "the server uses model.tflite if a version has one, otherwise the SavedModel"),
    ):
        if name in derived:
            draft.decide(f"flag {name}", "true", reason)
    if host.has_quota:
        chosen.update(
            tensorflow_intra_op_parallelism=cpus,
            tensorflow_inter_op_parallelism=cpus,
            rest_api_num_threads=max(2, 4 * cpus),
        )
        if questions.tflite_flag(release) in chosen:
            chosen["num_tflite_pools"] = cpus
        draft.decide(
            "threads",
            f"{cpus} intra-op, {cpus} inter-op",
            "a CFS quota applies, which TensorFlow ignores: without these flags, it would use every CPU",
        )
    return chosen


def grpc_threads(batchings: Iterable[Mapping[str, Any]], cpus: int) -> int:
    """Return how many parallel calls to permit: with batching, two full batches wait inside the server. batchings: parameters of the models."""
    largest = max(
        [batching.get("max_execution_batch_size") or batching.get("max_batch_size") or 0 for batching in batchings]
        + [0]
    )
    return min(_MOST_GRPC_THREADS, max(_LEAST_GRPC_THREADS, 4 * cpus, 2 * largest + _SPARE_GRPC_THREADS))


def _checked(draft: Draft, release: str, given: Any) -> dict[str, Any]:
    problems = questions.check_flags(release, given)
    for problem in problems:
        draft.refuse(
            f"flag {problem['flag']}",
            problem["reason"],
            f"{problem['remedy']} (tfserving_flags)",
            {"flags": problem["change"]},
        )
    faulty = {problem["flag"] for problem in problems}
    return {name: value for name, value in given.items() if name not in faulty}


def _consistent(
    draft: Draft, host: Host, release: str, chosen: dict[str, Any], environment: dict[str, str]
) -> dict[str, Any]:
    """Remove flags that the server would refuse, ignore or misinterpret together, and add a refusal for each."""
    for flags_out, reason, remedy, change in _contradictions(host, release, chosen, environment):
        draft.refuse(f"flag {flags_out[0]}", reason, f"{remedy} (tfserving_flags)", {"flags": change})
        chosen = {name: value for name, value in chosen.items() if name not in flags_out}
    return chosen


def _contradictions(
    host: Host, release: str, flags: dict[str, Any], environment: dict[str, str]
) -> Iterator[tuple[list[str], str, str, dict[str, Any]]]:
    batching = flags.get("enable_batching")
    for name, effect in (
        ("batching_parameters_file", "refuses to start"),
        ("enable_per_model_batching_parameters", "silently does not batch"),
    ):
        if flags.get(name) and not batching:
            yield (
                [name],
                f"without --enable_batching the server {effect}",
                "Leave it out, and set batching: auto for the models",
                {name: None},
            )
    if flags.get("batching_parameters_file") and batching:
        yield (
            ["batching_parameters_file"],
            "the role tfs_server writes this file from the batching of the models",
            "Leave it out, and set batching in tfserving_models to the parameters in the file",
            {"batching_parameters_file": None},
        )
    if flags.get("port") == 0 and not flags.get("grpc_socket_path"):
        yield (
            ["port"],
            "without a gRPC port and without a socket the server refuses to start",
            "Give a port, such as port: 8500",
            {"port": 8500},
        )
    rest = flags.get("rest_api_port")
    if rest and rest == flags.get("port", questions.flags(release)["port"][1]):
        other = rest + 1 if rest < 65535 else rest - 1
        yield (
            ["rest_api_port"],
            f"{rest} is also the gRPC port: the server would serve only gRPC and report this only in its log",
            f"Give REST its own port, such as rest_api_port: {other}",
            {"rest_api_port": other},
        )
    if flags.get("monitoring_config_file") and rest == 0:
        yield (
            ["monitoring_config_file"],
            "metrics are served over REST, which is off",
            "Give REST a port, such as rest_api_port: 8501",
            {"rest_api_port": 8501},
        )
    if flags.get(_PARALLELISM[0]) and (flags.get(_PARALLELISM[1]) or flags.get(_PARALLELISM[2])):
        yield (
            [_PARALLELISM[0]],
            "the server ignores this flag if intra- or inter-op parallelism is set, and refuses to start if both are set",
            "Leave it out",
            {_PARALLELISM[0]: None},
        )
    if flags.get("mixed_precision") and not onednn_is_on(host, release, environment):
        yield (
            ["mixed_precision"],
            "bfloat16 needs oneDNN, which is off here: the flag would have no effect",
            "Leave it out",
            {"mixed_precision": None},
        )
