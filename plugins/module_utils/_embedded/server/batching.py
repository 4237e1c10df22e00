# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Batching: TensorFlow's own scheduler forms the batches, and this layer does what TensorFlow Serving's BatchingSession does around it.

TensorFlow's queues contain no arrays of requests, but a ticket for each of their rows: [number of the task, row]. A
batch of tickets lists the rows that run together. Here, their arrays are checked, padded, joined, run and split. One
scheduler serves all models of a server, with a queue for each version and signature, so num_batch_threads limits the
batches of all of them together.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server import (
    configuration,
    log,
    metrics,
    status,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.session import Checked, Feeds
from ansible_collections.tfserving.fleet.plugins.module_utils._model import manifest

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]

_MAX_BATCH_SIZE, _MAX_ENQUEUED_BATCHES = 1000, 10
_RUN_IN_CALLER = -1


def read_parameters(path: str) -> Any:
    """Return the BatchingParameters message of a text file. Raise Status with TensorFlow Serving's texts."""
    return configuration.read_text_proto(path, "tensorflow.serving.BatchingParameters")


def parameters_of_model(path: str, common: Any, per_model: bool) -> Any:
    """Return the parameters for the version at path, or None if it is not batched. per_model: use only the file in the model's folder."""
    if not per_model:
        return common
    own = os.path.join(path, manifest.BATCHING)
    return read_parameters(own) if os.path.exists(own) else None


# The tensor that takes tickets, and the one that exists when their batches have ended.
_Queue = tuple[str, str]
# The input and output tensors of a signature.
_Key = tuple[frozenset[str], frozenset[str]]
# A task, its first row, and the row after the last.
_Part = tuple["_Task", int, int]


class Scheduler:
    """TensorFlow's batch scheduler for a whole server. threads: how many batches run in parallel.

    TensorFlow's batch threads belong to a separate session and look for work every millisecond. The session is closed
    after some seconds without a request, so that an idle server uses no CPU. The next request creates another one.
    """

    _session: Any
    _tasks: dict[int, _Task]
    _callables: dict[_Queue, Callable[[Any], object]]

    def __init__(self, threads: int, idle_s: float = 10.0) -> None:
        if threads < 1:
            raise status.Status("INVALID_ARGUMENT", f"num_batch_threads must be positive; was {threads}")
        import tensorflow

        self._threads, self._slots, self._idle_s = threads, threading.BoundedSemaphore(threads), idle_s
        self._tasks, self._numbers, self._queues = {}, itertools.count(), itertools.count()
        self._changed, self._last, self._session, self._callables = threading.Condition(), 0.0, None, {}
        self._graph = tensorflow.Graph()
        with self._graph.as_default():

            @tensorflow.function(input_signature=[tensorflow.TensorSpec([None, 2], tensorflow.int64)])  # type: ignore[untyped-decorator]
            def run_batch(tickets: Any) -> Any:
                return tensorflow.numpy_function(self._run_batch, [tickets], tensorflow.int64)

            self._function = run_batch.get_concrete_function()
            self._function.add_to_graph(self._graph)
        threading.Thread(target=self._rest, name="batching", daemon=True).start()

    def queue(self, parameters: Any) -> _Queue:
        """Return a new queue.

        It is (name of the tensor that takes tickets, an array [rows, 2]; name of the tensor that exists when their
        batches have ended).
        """
        import tensorflow

        options = queue_options(parameters)
        with self._changed, self._graph.as_default():
            tickets = tensorflow.compat.v1.placeholder(tensorflow.int64, [None, 2])
            done = tensorflow.raw_ops.BatchFunction(
                in_tensors=[tickets],
                captured_tensors=[],
                f=self._function,
                Tout=[tensorflow.int64],
                num_batch_threads=self._threads,
                container="tfserving",
                shared_name=f"batches {sorted(options.items())}",
                batching_queue=f"queue {next(self._queues)}",
                **options,
            )
            return tickets.name, done[0].name

    def submit(self, queue: _Queue, task: _Task) -> None:
        """Wait until all rows of the task have run in one or more batches. The task contains their results. May raise OpErrors."""
        number = next(self._numbers)
        tickets = numpy.empty((task.rows, 2), "int64")
        tickets[:, 0], tickets[:, 1] = number, numpy.arange(task.rows)
        with self._changed:
            call = self._callable(queue)
            self._tasks[number] = task
        try:
            call(tickets)
        finally:
            with self._changed:
                del self._tasks[number]
                self._last = time.monotonic()

    def _callable(self, queue: _Queue) -> Callable[[Any], object]:
        """Return the function that adds tickets to the queue, of the current session or a new one. The caller holds the lock."""
        import tensorflow
        from tensorflow.core.protobuf import config_pb2

        if self._session is None:
            # A batch runs in a thread of the scheduler, and a request waits in its own, so this session needs no
            # threads for them.
            self._session = tensorflow.compat.v1.Session(
                graph=self._graph,
                config=config_pb2.ConfigProto(
                    inter_op_parallelism_threads=1, use_per_session_threads=True, device_count={"GPU": 0}
                ),
            )
            self._changed.notify()
        if queue not in self._callables:
            call = config_pb2.CallableOptions(feed=[queue[0]], fetch=[queue[1]])
            call.run_options.inter_op_thread_pool = _RUN_IN_CALLER
            self._callables[queue] = self._session._make_callable_from_options(call)
        return self._callables[queue]

    def _rest(self) -> None:
        """Close the session whenever it was idle for a while. Without a session, wait for one without a timeout."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._session is not None)
                left_s = self._idle_s if self._tasks else self._last + self._idle_s - time.monotonic()
                if left_s <= 0:
                    self._callables.clear()
                    self._session.close()
                    self._session = None
                    left_s = 0
            time.sleep(left_s)

    def _run_batch(self, tickets: Any) -> Any:
        """Run a batch. TensorFlow calls this in a batch thread."""
        with self._slots:
            parts = [(self._tasks[int(number)], int(first), int(last) + 1) for number, first, last in _runs(tickets)]
            parts[0][0].session.run_batch(parts)
        return tickets


class BatchingSession:
    """A session whose runs share batches, with the interface of the wrapped session."""

    def __init__(self, session: Checked, parameters: Any, scheduler: Scheduler) -> None:
        """Wrap a session. parameters: a BatchingParameters message. Raise Status if TensorFlow Serving refuses to load the model with it."""
        log.info("Wrapping session to perform batch processing")
        self._session, self._parameters, self._scheduler = session, parameters, scheduler
        check_parameters(parameters)
        self._allowed = list(parameters.allowed_batch_sizes)
        self.signatures = session.signatures
        declared = {
            _key([info.name for info in signature.inputs.values()], [info.name for info in signature.outputs.values()])
            for signature in session.signatures.values()
        }
        self._queues, self._bypassed = {key: scheduler.queue(parameters) for key in declared}, False

    def run(self, feeds: Feeds, fetches: Sequence[str], timeout_ms: int = 0) -> list[Any]:
        """Run as SavedModelSession.run, in a batch with other requests for the same tensors. Runs for only some outputs of a signature are not batched."""
        self._session.check(feeds)
        queue = self._queues.get(_key(feeds, fetches))
        if queue is None:
            if not self._bypassed:
                log.warning(
                    f"Request doesn't match any declared signature. Bypassing batcher. Request signature is: {','.join(sorted(feeds))} -> "
                    f"{','.join(sorted(fetches))}"
                )
            self._bypassed = True
            return self._session.run(feeds, fetches, timeout_ms)
        task = _Task(self, feeds, tuple(sorted(set(fetches))), timeout_ms)
        if not task.rows:
            raise status.Status(
                "INVALID_ARGUMENT",
                "The request has no rows: with batching, TensorFlow Serving does not answer it before another request joins it",
            )
        for _array in feeds:
            metrics.INPUT_BATCH_SIZE.add(task.rows)
        try:
            self._scheduler.submit(queue, task)
        except Exception as fault:
            found = status.of(fault)
            raise status.Status(found.code, found.message.partition("\n\t [[")[0]) from fault
        if task.faults:
            raise task.faults[0]
        outputs = task.outputs()
        return [outputs[name] for name in fetches]

    def close(self) -> None:
        """Close the wrapped session."""
        self._session.close()

    def run_batch(self, parts: Sequence[_Part]) -> None:
        """Run the rows of several tasks as one batch. parts: [(task, first row, row after the last)]."""
        try:
            pieces = self._run(parts)
        except Exception as fault:
            for task, _first, _last in parts:
                task.faults.append(status.of(fault))
        else:
            for (task, first, _last), piece in zip(parts, pieces):
                task.pieces.append((first, piece))

    def _run(self, parts: Sequence[_Part]) -> list[dict[str, Any]]:
        now = time.monotonic()
        for task in {id(part[0]): part[0] for part in parts}.values():
            metrics.QUEUING_LATENCY.add((now - task.began) * 1e6, "")
        if all(task.timeout_ms and now - task.began > task.timeout_ms / 1000 for task, _first, _last in parts):
            raise status.Status("RESOURCE_EXHAUSTED", "Run() timeout exceeded while waiting in batching queue")
        sizes = [last - first for _task, first, last in parts]
        rows = sum(sizes)
        padding = padded_size(rows, self._allowed) - rows
        metrics.PADDING_SIZE.add(padding, rows + padding)
        metrics.PROCESSED_BATCH_SIZE.add(rows + padding)
        feeds = {
            name: _joined(
                name,
                [task.feeds[name][first:last] for task, first, last in parts],
                padding,
                self._parameters.pad_variable_length_inputs,
            )
            for name in parts[0][0].feeds
        }
        wanted = parts[0][0].wanted
        metrics.WRAPPED_RUN_COUNT.add()
        timeouts = {task.timeout_ms for task, _first, _last in parts}
        arrays = self._session.run(feeds, wanted, 0 if 0 in timeouts else max(timeouts))
        for array in arrays:
            if not array.ndim:
                raise status.Status("FAILED_PRECONDITION", "Batched output tensor has 0 dimensions")
            if len(array) != rows + padding:
                raise status.Status(
                    "FAILED_PRECONDITION",
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes "
                    "of the input tensors",
                )
        ends = list(itertools.accumulate(sizes))
        return [
            {name: array[end - size : end] for name, array in zip(wanted, arrays)} for size, end in zip(sizes, ends)
        ]


def _key(inputs: Iterable[str], outputs: Iterable[str]) -> _Key:
    """Return the key of a signature of the model: the names of its tensors."""
    return frozenset(inputs), frozenset(outputs)


class _Task:
    """One request: its inputs, the requested outputs, and the parts of the outputs of the batches that have ended."""

    pieces: list[tuple[int, dict[str, Any]]]
    faults: list[status.Status]

    def __init__(self, session: BatchingSession, feeds: Feeds, wanted: tuple[str, ...], timeout_ms: int) -> None:
        self.session, self.feeds, self.wanted, self.timeout_ms = session, feeds, wanted, timeout_ms
        self.rows, self.began, self.pieces, self.faults = _rows_of(feeds), time.monotonic(), [], []

    def outputs(self) -> dict[str, Any]:
        """Return {tensor name: array} of all rows."""
        if len(self.pieces) == 1:
            return self.pieces[0][1]
        ordered = [piece for _first, piece in sorted(self.pieces, key=lambda piece: piece[0])]
        return {name: numpy.concatenate([piece[name] for piece in ordered]) for name in self.wanted}


def check_parameters(parameters: Any) -> None:
    """Raise Status for a BatchingParameters message that TensorFlow Serving refuses or aborts on."""
    size, execution_size = _max_batch_size(parameters), _execution_size(parameters)
    last, timeout = [size, *parameters.allowed_batch_sizes][-1], parameters.batch_timeout_micros.value
    splitting, enqueued = parameters.enable_large_batch_splitting.value, parameters.max_enqueued_batches.value
    rules = (
        (
            last == size,
            f"Last entry in allowed_batch_sizes must match max_batch_size; last entry was {last}; expected {size}",
        ),
        (size >= 1, f"input_batch_size_limit must be positive; was {size}"),
        (timeout >= 0, f"batch_timeout_micros must be non-negative; was {timeout}"),
        (enqueued >= 0, f"max_enqueued_batches must be non-negative; was {enqueued}"),
        (
            not splitting or enqueued or not parameters.HasField("max_enqueued_batches"),
            f"max_enqueued_batches must be positive; was {enqueued}",
        ),
        (
            not splitting or 0 < execution_size <= size,
            "When enable_large_batch_splitting is true, input_batch_size_limit must be greater than or equal to "
            f"max_execution_batch_size. input_batch_size_limit is {size}, max_execution_batch_size is {execution_size}",
        ),
    )
    for holds, text in rules:
        if not holds:
            raise status.invalid(text)


def queue_options(parameters: Any) -> dict[str, Any]:
    """Return the options of BatchFunction. With splitting, all sizes up to the largest batch are allowed, because this layer pads."""
    enqueued = (
        parameters.max_enqueued_batches.value if parameters.HasField("max_enqueued_batches") else _MAX_ENQUEUED_BATCHES
    )
    splitting = parameters.enable_large_batch_splitting.value
    return {
        "max_batch_size": _max_batch_size(parameters),
        "batch_timeout_micros": parameters.batch_timeout_micros.value,
        "max_enqueued_batches": max(1, enqueued),
        "enable_large_batch_splitting": splitting,
        "allowed_batch_sizes": list(range(1, _execution_size(parameters) + 1)) if splitting else [],
    }


def padded_size(rows: int, allowed: Sequence[int]) -> int:
    """Return the first allowed size, in the given order, that is large enough for the rows, or else the number of rows."""
    return next((size for size in allowed if size >= rows), rows)


def _max_batch_size(parameters: Any) -> int:
    return parameters.max_batch_size.value if parameters.HasField("max_batch_size") else _MAX_BATCH_SIZE


def _execution_size(parameters: Any) -> int:
    return (
        parameters.max_execution_batch_size.value
        if parameters.HasField("max_execution_batch_size")
        else _max_batch_size(parameters)
    )


def _rows_of(feeds: Feeds) -> int:
    if not feeds:
        raise status.Status("INVALID_ARGUMENT", "Batching Run() must have at least one input tensor")
    if any(not array.ndim for array in feeds.values()):
        raise status.Status("INVALID_ARGUMENT", "Batching Run() input tensors must have at least one dimension")
    sizes = {len(array) for array in feeds.values()}
    if len(sizes) > 1:
        raise status.Status("INVALID_ARGUMENT", "Batching Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()


def _runs(tickets: Any) -> Any:
    """Return (task, first row, last row) of each sequence of consecutive rows of one task in a batch of tickets."""
    breaks = numpy.flatnonzero((numpy.diff(tickets[:, 0]) != 0) | (numpy.diff(tickets[:, 1]) != 1)) + 1
    starts, ends = [0, *breaks], [*breaks, len(tickets)]
    return [(tickets[start, 0], tickets[start, 1], tickets[end - 1, 1]) for start, end in zip(starts, ends)]


def _joined(name: str, arrays: list[Any], padding: int, pad_variable_length: bool) -> Any:
    """Return the arrays of several tasks joined, with the first row of the last task repeated as padding."""
    if pad_variable_length:
        arrays = _of_one_shape(arrays)
    elif any(array.shape[1:] != arrays[0].shape[1:] for array in arrays):
        raise status.Status(
            "FAILED_PRECONDITION",
            f"Tensors with name '{name}' from different tasks have different shapes and padding is turned off. Set "
            "pad_variable_length_inputs to true, or "
            "ensure that all tensors with the same name have equal dimensions starting with the first dim.",
        )
    return numpy.concatenate(arrays + [arrays[-1][:1]] * padding) if len(arrays) + padding > 1 else arrays[0]


def _of_one_shape(arrays: list[Any]) -> list[Any]:
    """Return the arrays padded to the largest size in each dimension except the first, each with its own first value."""
    ranks = {array.ndim for array in arrays}
    if len(ranks) > 1:
        raise status.Status(
            "INVALID_ARGUMENT",
            "Tensors of different ranks are in one batch to be padded: TensorFlow Serving would abort",
        )
    if max(ranks) > 6:
        raise status.Status("INVALID_ARGUMENT", "Only tensors with rank from 1 to 6 can be padded.")
    largest = [max(array.shape[axis] for array in arrays) for axis in range(1, ranks.pop())]
    padded = []
    for array in arrays:
        shape = (len(array), *largest)
        if shape != array.shape:
            if not array.size:
                raise status.Status("INVALID_ARGUMENT", "Got empty tensor in batch of non-empty tensors.")
            filled = numpy.full(shape, array.flat[0], array.dtype)
            filled[tuple(slice(size) for size in array.shape)] = array
            array = filled
        padded.append(array)
    return padded
