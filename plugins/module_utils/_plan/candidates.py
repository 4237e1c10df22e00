# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The candidates of a tuning: what a plan leaves open and can be faster, the largest expected gain first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._plan import flags, model_batching, models
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.host_view import Host
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions

_LITE = {"form": "tflite_dynamic_range"}
_UNBATCHED = {"batching": None}
_REST_THREADS = 64


@dataclass(frozen=True)
class Served:
    """What a plan serves. cpus: whole CPUs that the server may use. flags: those that the plan chose."""

    host: Host
    wanted: Mapping[str, Any]
    release: str
    backend: str
    models: list[dict[str, Any]]
    devices: Any
    cpus: int
    flags: Mapping[str, Any]
    environment: dict[str, str]


def found(served: Served) -> list[dict[str, Any]]:
    """Return [{name, model, change, reason}]. model: None for what concerns the whole server."""
    return [*_of_models(served), *_of_server(served)]


def _of_models(served: Served) -> Iterator[dict[str, Any]]:
    for model, made in zip(served.wanted["models"], served.models):
        name = f" ({model['name']})" if len(served.models) > 1 else ""
        lite = made["form"] == "saved_model" and models.may_try_lite(model, served.release, served.devices)
        batching = _batching(served, model, made)
        if lite:
            reason = "8-bit weights are often faster on CPUs; kept only if the accuracy is still good enough"
            yield _candidate(f"TensorFlow Lite{name}", _LITE, reason, model)
        if batching:
            reason = "more throughput with several clients at once; a single client waits longer"
            yield _candidate(f"batching{name}", batching, reason, model)
        if lite and batching:
            reason = "both together can be faster even if each alone is slower"
            yield _candidate(f"TensorFlow Lite with batching{name}", {**_LITE, **batching}, reason, model)
        if made["batching"] and model["batching"] == "auto" and not served.wanted["batched"]:
            reason = "batching costs models that do not compute several rows faster together"
            yield _candidate(f"no batching{name}", _UNBATCHED, reason, model)
            if lite:
                reason = "TensorFlow Lite often computes several rows no faster together"
                yield _candidate(f"TensorFlow Lite without batching{name}", {**_LITE, **_UNBATCHED}, reason, model)


def _batching(served: Served, model: dict[str, Any], made: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the change to batching and the gRPC threads that it needs beyond the planned ones, or None if it is set or cannot be valid."""
    if made["batching"] is not None or model["batching"] == "none":
        return None
    wanted, cpus = served.wanted, served.cpus
    parameters = model_batching.start_values(served.host, wanted["goal"], bool(served.devices), model, cpus)
    if model_batching.problem(parameters, model, served.release):
        return None
    needed = flags.grpc_threads([parameters], cpus)
    enough = needed <= served.flags.get("grpc_max_threads", needed)
    return {"batching": parameters} if enough else {"batching": parameters, "flags": {"grpc_max_threads": needed}}


def _of_server(served: Served) -> Iterator[dict[str, Any]]:
    threads = {"tensorflow_intra_op_parallelism": 1, "tensorflow_inter_op_parallelism": served.cpus}
    if not any(name in served.wanted["flags"] for name in threads) and any(
        served.flags.get(name) != value for name, value in threads.items()
    ):
        reason = "one thread for each operation, and as many operations at once as CPUs, suits a busy server"
        yield _candidate("threads", {"flags": threads}, reason)
    if (
        questions.cell("onednn_available", served.release)
        and "TF_ENABLE_ONEDNN_OPTS" not in served.wanted["environment"]
        and served.host.architecture == "x86_64"
        and not served.devices
    ):
        on = flags.onednn_is_on(served.host, served.release, served.environment)
        onednn = {"TF_ENABLE_ONEDNN_OPTS": "0" if on else "1"}
        reason = "slower or up to several times faster, depending on the model and the CPU"
        yield _candidate(f"oneDNN {'off' if on else 'on'}", {"environment": onednn}, reason)
    lite = any(
        made["form"].startswith("tflite") or models.may_try_lite(model, served.release, served.devices)
        for model, made in zip(served.wanted["models"], served.models)
    )
    batch_by_themselves = served.backend != "embedded" and questions.cell("tflite_interpreters_batch", served.release)
    if lite and batch_by_themselves and _is_open(served, "num_tflite_interpreters_per_pool"):
        interpreters = {"num_tflite_interpreters_per_pool": 2, "num_tflite_pools": served.cpus}
        reason = "with several interpreters in a pool, TensorFlow Lite batches by itself"
        yield _candidate("TensorFlow Lite interpreters", {"flags": interpreters}, reason)
    if 4 * served.cpus < _REST_THREADS and _is_open(served, "rest_api_num_threads"):
        rest_threads = {"rest_api_num_threads": _REST_THREADS}
        reason = "more REST requests at once; the default is 4 threads for each CPU"
        yield _candidate("REST threads", {"flags": rest_threads}, reason)
    reason = "JSON is slow for lists of numbers; how slow depends on the size of the tensors"
    yield _candidate("clients from REST to gRPC", {"protocol": "grpc"}, reason)


def _is_open(served: Served, flag: str) -> bool:
    """Return whether the release has a flag that the user did not set."""
    return flag in questions.flags(served.release) and flag not in served.wanted["flags"]


def _candidate(
    name: str, change: Mapping[str, Any], reason: str, model: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    return {"name": name, "model": model and model["name"], "change": change, "reason": reason}
