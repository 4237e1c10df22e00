# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program for a Python with TensorFlow: load a SavedModel as a server does, and send malformed requests to it."""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import account, program, shared_folders
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import samples
from ansible_collections.tfserving.fleet.plugins.module_utils._model.meta_graph import SERVED_TAGS, SavedModel
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.dtypes import Array
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import Signature

_LEAST_RANK = 2
# oneDNN is always on, because the hosts that serve may choose it although this CPU would not.
_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1", "TF_ENABLE_ONEDNN_OPTS": "1"}


def run(described: SavedModel, options: Mapping[str, Any], user: str | None) -> dict[str, Any]:
    """Return the outcome() of a probe in its own process, which records each step before it begins, so that a crash shows the step.

    options: tags, python (or None for this one), timeout_s. user: as of program.call.
    """
    with account.lent_directory(user) as directory:
        record = os.path.join(directory, "record")
        request = dict({name: described[name] for name in ("path", "signatures")}, record=record, tags=options["tags"])
        try:
            program.call(
                __name__,
                request,
                options["python"] or sys.executable,
                timeout_s=options["timeout_s"],
                environment=_ENVIRONMENT,
                user=user,
            )
        except FleetError as fault:
            if "was killed by" not in fault.what or not os.path.lexists(record):
                raise
        with os.fdopen(shared_folders.open_file(record, os.O_RDONLY), encoding="utf-8") as stream:
            return outcome(stream.read())


def main() -> int:
    """Run the program. As in the converter, Keras is not needed."""
    sys.modules.update({"keras": None, "tf_keras": None})  # type: ignore[dict-item]
    return program.answer(sys.argv, probe)


def probe(request: Mapping[str, Any]) -> dict[str, Any]:
    """Load request["path"] and send requests to it. Record each step before it begins as a line of JSON in the file request["record"]. Raise FleetError."""
    import tensorflow
    from tensorflow.core.protobuf import config_pb2

    v1 = tensorflow.compat.v1
    before, began = _resident_mib(), time.monotonic()
    with tensorflow.Graph().as_default(), v1.Session() as session:
        try:
            v1.saved_model.loader.load(session, request.get("tags", SERVED_TAGS), request["path"])
        except Exception as fault:  # Whatever TensorFlow raises here, the model does not load.
            raise FleetError(f"it does not load: {str(fault).splitlines()[0][:300]}", where=request["path"]) from fault

        def ask(signature: Signature, inputs: Mapping[str, Array]) -> None:
            # session.run() would compare the shapes with those of the graph. A server does not, so this does not
            # either.
            names = sorted(inputs)
            options = config_pb2.CallableOptions(
                feed=[signature["inputs"][name]["tensor"] for name in names],
                fetch=[tensor["tensor"] for tensor in signature["outputs"].values()],
            )
            session._make_callable_from_options(options)(*[inputs[name] for name in names])

        _record(request, {"load_s": round(time.monotonic() - began, 3), "memory_mib": max(0, _resident_mib() - before)})
        for name, signature in request["signatures"].items():
            inputs = _one_request(signature)
            if inputs is not None:
                _try(request, functools.partial(ask, signature, inputs), name, "1 row")
                for words, malformed in _malformed(signature, inputs):
                    _try(request, functools.partial(ask, signature, malformed), name, words)
    return {}


def outcome(record: str) -> dict[str, Any]:
    """Return the outcome that probe recorded.

    It is {load_s, memory_mib, answered, survives, malformed_requests: [{signature, request, outcome}]}.
    """
    lines = [json.loads(line) for line in record.splitlines()]
    found = dict(lines[0], answered=[], malformed_requests=[], survives=True)
    for line in lines[1:]:
        if line["outcome"] is None:
            found["malformed_requests"].append(dict(line, outcome="killed"))
        elif (
            found["malformed_requests"]
            and found["malformed_requests"][-1]["request"] == line["request"]
            and found["malformed_requests"][-1]["signature"] == line["signature"]
        ):
            found["malformed_requests"][-1] = line
    found["answered"] = [
        line["signature"]
        for line in found["malformed_requests"]
        if line["request"] == "1 row" and line["outcome"] == "answered"
    ]
    found["malformed_requests"] = [
        line for line in found["malformed_requests"] if line["request"] != "1 row" or line["outcome"] == "killed"
    ]
    found["survives"] = all(line["outcome"] != "killed" for line in found["malformed_requests"])
    return found


def _one_request(signature: Signature) -> dict[str, Array] | None:
    made = samples.synthetic(signature["inputs"], 1)
    if made is None:
        return None
    rows = {name: tensor["shape"] and tensor["shape"][0] is None for name, tensor in signature["inputs"].items()}
    return {name: array if rows[name] else array[0] for name, array in made.items()}


def _malformed(signature: Signature, inputs: Mapping[str, Array]) -> Iterator[tuple[str, dict[str, Array]]]:
    """Yield (words, inputs) of malformed requests."""
    batched = [name for name, tensor in signature["inputs"].items() if tensor["shape"] and tensor["shape"][0] is None]
    if batched:
        yield "0 rows", {name: array[:0] if name in batched else array for name, array in inputs.items()}
    for name, array in inputs.items():
        for rank in range(1, array.ndim):
            if array.ndim >= _LEAST_RANK:
                yield f"{name} of rank {rank}", dict(inputs, **{name: array.reshape(array.shape[: rank - 1] + (-1,))})


def _try(request: Mapping[str, Any], ask: Callable[[], None], name: str, words: str) -> None:
    line = {"signature": name, "request": words}
    _record(request, dict(line, outcome=None))
    try:
        ask()
        ended = "answered"
    except Exception:  # A server should return an error of any kind here.
        ended = "refused"
    _record(request, dict(line, outcome=ended))


def _record(request: Mapping[str, Any], line: Mapping[str, Any]) -> None:
    with open(request["record"], "a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def _resident_mib() -> int:
    with open("/proc/self/status", encoding="ascii") as stream:
        return next(int(line.split()[1]) // 1024 for line in stream if line.startswith("VmRSS"))
