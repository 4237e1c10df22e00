# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run SavedModels as TensorFlow Serving does: in a TensorFlow session on the saved graph."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server import log, status
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.session import Feeds
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import wire

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]


_MOST_CALLABLES = 64
# void tensorflow::DisableXlaCompilation(), of tensorflow/compiler/jit/flags.h: what TensorFlow Serving's main.cc calls.
_LIBRARY, _DISABLE_XLA = "libtensorflow_cc.so.2", "_ZN10tensorflow21DisableXlaCompilationEv"


def disable_xla(directory: str) -> None:
    """Make functions fail in this process that only XLA compiles, as in TensorFlow Serving without flags for XLA. directory: TensorFlow's package."""
    try:
        disable = getattr(ctypes.CDLL(os.path.join(directory, _LIBRARY)), _DISABLE_XLA)
    except (OSError, AttributeError):
        log.warning(
            "This TensorFlow cannot switch XLA off: functions with jit_compile=True are answered, which TensorFlow Serving does not do."
        )
        return
    disable.restype = None
    disable()


class SavedModelSession:
    """A loaded SavedModel.

    signatures: {name: SignatureDef of _protocol.wire}. Many threads call run() in parallel.
    """

    _inputs: dict[str, tuple[Any, int]]
    _callables: dict[Any, Callable[..., list[Any]]]

    def __init__(self, path: str, tags: Sequence[str], config: Any) -> None:
        """Load path. tags: names of the meta graph's tags. config: a ConfigProto. Raise Status or TensorFlow's own errors."""
        import tensorflow

        _check_files(path)
        log.info(f"Reading SavedModel from: {path}")
        self._graph = tensorflow.compat.v1.Graph()
        self._session = tensorflow.compat.v1.Session(graph=self._graph, config=config)
        try:
            with self._graph.as_default():
                loaded = tensorflow.compat.v1.saved_model.load(self._session, tags, path)
        except BaseException as fault:
            self._session.close()
            raise _explained(fault, path, tags) from fault
        signature_def = wire.message("tensorflow.SignatureDef")
        self.signatures = {
            name: signature_def.FromString(one.SerializeToString()) for name, one in loaded.signature_def.items()
        }
        self._aborts_below_rank = _aborts_below_rank(loaded.graph_def)
        self._inputs, self._callables, self._lock = {}, {}, threading.Lock()

    def run(self, feeds: Feeds, fetches: Sequence[str], timeout_ms: int = 0) -> list[Any]:
        """Return the arrays of the tensors named fetches, in order. feeds: {tensor name: array}. timeout_ms: 0 for none."""
        self.check(feeds)
        names = tuple(sorted(feeds))
        wanted = tuple(sorted(set(fetches)))
        call = self._callables.get((names, wanted, timeout_ms)) or self._prepare(names, wanted, timeout_ms)
        values = dict(zip(wanted, call(*[feeds[name] for name in names])))
        return [_as_array(values[name]) for name in fetches]

    def check(self, feeds: Feeds) -> None:
        """Raise Status for inputs with a type that the graph does not accept, or a rank on which TensorFlow would abort."""
        for position, name in enumerate(sorted(feeds)):
            array, (dtype, lowest_rank) = feeds[name], self._inputs.get(name) or self._input(name)
            if array.dtype != dtype:
                raise status.wrong_type(position, dtype.name, array.dtype.name)
            if array.ndim < lowest_rank:
                raise status.Status(
                    "INVALID_ARGUMENT",
                    f"Tensor {name} has rank {array.ndim}, the model expects {lowest_rank}: TensorFlow would abort "
                    "the whole server",
                )

    def close(self) -> None:
        """Free the model's resources."""
        self._callables.clear()
        self._session.close()

    def _input(self, name: str) -> tuple[Any, int]:
        try:
            tensor = self._graph.get_tensor_by_name(name)
        except (KeyError, ValueError) as fault:
            raise status.Status(
                "INVALID_ARGUMENT",
                f"Tensor {name}, specified in either feed_devices or fetch_devices was not found in the Graph",
            ) from fault
        lowest_rank = (tensor.shape.rank or 0) if self._aborts_below_rank else 0
        found = self._inputs[name] = (numpy.dtype(tensor.dtype.as_numpy_dtype), lowest_rank)
        return found

    def _prepare(self, names: tuple[str, ...], wanted: tuple[str, ...], timeout_ms: int) -> Callable[..., list[Any]]:
        from tensorflow.core.protobuf import config_pb2

        options = config_pb2.CallableOptions(feed=names, fetch=wanted)
        options.run_options.timeout_in_ms = timeout_ms
        with self._lock:
            if (
                len(self._callables) >= _MOST_CALLABLES
            ):  # Clients choose the outputs, and each choice occupies memory until it is removed.
                self._callables.clear()
            call: Callable[..., list[Any]]
            call = self._callables[names, wanted, timeout_ms] = self._session._make_callable_from_options(options)
            return call


def _as_array(value: Any) -> Any:
    return (
        value
        if isinstance(value, numpy.ndarray)
        else numpy.array(value, object if isinstance(value, (bytes, str)) else None)
    )


def _check_files(path: str) -> None:
    if not any(os.path.exists(os.path.join(path, name)) for name in ("saved_model.pb", "saved_model.pbtxt")):
        raise status.Status(
            "NOT_FOUND",
            "Specified file path does not appear to contain a SavedModel bundle "
            f"(should have a file called `saved_model.pb`)\nSpecified file path: {path}",
        )


def _explained(fault: BaseException, path: str, tags: Sequence[str]) -> BaseException:
    if isinstance(fault, OSError):
        return status.Status("DATA_LOSS", f"Can't parse {os.path.join(path, 'saved_model.pb')} as binary proto")
    if isinstance(fault, RuntimeError) and "MetaGraphDef associated with tags" in str(fault):
        return status.Status(
            "NOT_FOUND",
            f"Could not find meta graph def matching supplied tags: {{ {' '.join(tags)} }}. "
            "To inspect available tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`",
        )
    return fault


def _aborts_below_rank(graph_def: Any) -> bool:
    """Return whether TensorFlow aborts on an input with fewer dimensions than the model's, as convolutions with oneDNN do."""
    from tensorflow.python.util import _pywrap_util_port

    bodies = [graph_def.node, *(function.node_def for function in graph_def.library.function)]
    return _pywrap_util_port.IsMklEnabled() and any("Conv" in node.op for body in bodies for node in body)
