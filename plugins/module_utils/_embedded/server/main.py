# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded server of tfserving.fleet: a small model server that uses TensorFlow's Python package, with TensorFlow Serving's APIs and flags.

It is not TensorFlow Serving. Environment: TFSERVING_EMBEDDED_ADDRESS, the address that it listens on (127.0.0.1);
TFSERVING_EMBEDDED_IDLE_EXIT_S, after how many seconds without a request it ends (never).
"""

from __future__ import annotations

import functools
import gc
import importlib.util
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from ansible_collections.tfserving.fleet.plugins.module_utils._core.version import VERSION
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded import flags
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server import (
    batching,
    configuration,
    log,
    metrics,
    models,
    status,
    warmup,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.grpc_service import GrpcService
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.predict import Predictor
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.rest_service import RestService
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.saved_model_session import (
    SavedModelSession,
    disable_xla,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.session import Checked, Session
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.tflite_session import FILE as LITE_FILE
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.tflite_session import LiteSession
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import wire

NAME = f"the embedded server of tfserving.fleet {VERSION}, which is not TensorFlow Serving"
# 128 plus the signal's number, as for a TensorFlow Serving that is the first process of a container.
_FAILED, _SIGNALLED = 255, 128
_GRACE_S = 5.0
# File descriptors: the most that are useful, those left to models and TensorFlow, and the most connections of each API.
_DESCRIPTORS, _OTHER_DESCRIPTORS, _REST_CONNECTIONS, _GRPC_CONNECTIONS = 16384, 256, 512, 4096


def main() -> int:
    """Parse the command line and serve. Return the exit status."""
    cpus = len(os.sched_getaffinity(0))
    program, words = os.path.basename(sys.argv[0]), sys.argv[1:]
    line = flags.parse(words, cpus)
    if line.faults or line.unknown[:1] == ("--help",):
        sys.stderr.write("".join(f"{fault}\n" for fault in line.faults))
        _say(flags.usage(program, cpus))
        return _FAILED
    if line.values["version"]:
        _say(f"TensorFlow ModelServer: {NAME}\nTensorFlow Library: {_tensorflow_version()}\n")
        return 0
    if line.unknown:
        _say(f"unknown argument: {line.unknown[0]}\n{flags.usage(program, cpus)}")
    log.info(f"This is {NAME}.")
    try:
        refusal = flags.refusal(line.values, cpus)
        if refusal:
            raise status.Status(*refusal)
        _need_packages()
        # TensorFlow imports Keras, which takes as long as everything else and is not needed here. Both names stay
        # without a module.
        sys.modules.update(keras=None, tf_keras=None)  # type: ignore[call-overload]
        code = Server(line.values).serve()
    except Exception as fault:
        _say(f"Failed to start server. Error: {status.of(fault)}\n")
        _end(_FAILED)
    _end(code)


class Server:
    """One server: its models and the two services. options: {flag: value}, all of them."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._stopping, self._listening, self._code = threading.Event(), False, 0
        self._activity = Activity()
        self._address = os.environ.get("TFSERVING_EMBEDDED_ADDRESS", "127.0.0.1")
        self._idle_exit_s = float(os.environ.get("TFSERVING_EMBEDDED_IDLE_EXIT_S", "inf"))

    def serve(self) -> int:
        """Load, listen, and return the exit status after SIGTERM, SIGINT or the time without requests. Raise Status if the server cannot start."""
        self._heed_signals()
        options = self._options
        configs, tls, metrics_path = configuration.of_flags(options), _tls(options), _metrics_path(options)
        library = models.Library(
            self._loader(),
            options["max_num_load_retries"],
            options["load_retry_interval_micros"] / 1e6,
            options["file_system_poll_wait_seconds"],
            options["allow_version_labels_for_unavailable_models"],
            options["num_load_threads"],
        )
        library.apply(configs)
        if options["model_config_file"] and options["model_config_file_poll_wait_seconds"] > 0:
            configuration.poll(library, options["model_config_file"], options["model_config_file_poll_wait_seconds"])
        self._listen(library, tls, metrics_path)
        return self._code

    def _heed_signals(self) -> None:
        """Stop at SIGTERM or SIGINT.

        A thread waits for them. A handler in the main thread would not run if that thread waits for something and the
        kernel gives the signal to another thread, as happens on a busy machine.
        """
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: None)
        threading.Thread(target=lambda: self._stop(os.read(reading, 1)[0]), name="signals", daemon=True).start()

    def _stop(self, number: int) -> None:
        self._code = _SIGNALLED + number
        if not self._listening:
            os._exit(self._code)  # No client is connected yet, and what TensorFlow does meanwhile may take long.
        self._stopping.set()

    def _listen(self, library: models.Library, tls: Any, metrics_path: str | None) -> None:
        self._listening, port, socket_path = True, self._options["port"], self._options["grpc_socket_path"]
        predictor = _predictor(self._options)
        rest_connections, grpc_connections = _connections()
        grpc = GrpcService(predictor, library, self._options, self._activity, grpc_connections)
        rest = None
        log.info("Using InsecureServerCredentials" if tls is None else "Using SSL credentials")
        grpc.start(
            ([f"{self._address}:{port}"] if port else []) + ([f"unix:{socket_path}"] if socket_path else []), tls
        )
        if port:
            log.info(f"Running gRPC ModelServer at {self._address}:{port} ...")
        if socket_path:
            log.info(f"Running gRPC ModelServer at UNIX socket {socket_path} ...")
        if self._options["rest_api_port"] and self._options["rest_api_port"] == port:
            log.error(
                "server_options.http_port cannot be same as grpc_port. Please use a different port for HTTP/REST API. Skipped exporting HTTP/REST API."
            )
        elif self._options["rest_api_port"]:
            rest = RestService(predictor, library, self._options, self._activity, metrics_path)
            rest.start(self._address, self._options["rest_api_port"], rest_connections)
            log.info(f"Exporting HTTP/REST API at:{self._address}:{self._options['rest_api_port']} ...")
        gc.collect()
        gc.freeze()
        self._activity.reset()
        log.info("Entering the event loop ...")
        self._wait()
        log.info("Stopping: running requests are finished first")
        if rest:
            rest.stop()
        grpc.stop(_GRACE_S)
        self._activity.wait_until_none(_GRACE_S)

    def _wait(self) -> None:
        while not self._stopping.is_set():
            idle_s = self._activity.idle_s()
            if idle_s >= self._idle_exit_s:
                log.info(f"No request for {self._idle_exit_s:g} s")
                return
            left_s = self._idle_exit_s - idle_s
            self._stopping.wait(None if left_s == float("inf") else left_s)

    def _loader(self) -> Callable[[str, int, str], Session]:
        """Return the function (name, number, path) -> session of a version."""
        common = _common_parameters(self._options) if self._options["enable_batching"] else None
        scheduler = None
        if common is not None:
            scheduler = batching.Scheduler(
                common.num_batch_threads.value if common.HasField("num_batch_threads") else len(os.sched_getaffinity(0))
            )
        import tensorflow
        from tensorflow.core.protobuf import config_pb2

        tensorflow.get_logger().setLevel("ERROR")
        if not self._options["xla_cpu_compilation_enabled"] and not self._options["xla_gpu_compilation_enabled"]:
            disable_xla(os.path.dirname(tensorflow.__file__))
        intra, inter = flags.parallelism(self._options)
        config = config_pb2.ConfigProto(
            intra_op_parallelism_threads=intra, inter_op_parallelism_threads=inter, allow_soft_placement=True
        )
        config.gpu_options.per_process_gpu_memory_fraction = self._options["per_process_gpu_memory_fraction"]
        return functools.partial(load, self._options, config, common, scheduler)


class Activity:
    """A context around each request, for many threads. Counts how many run, and measures how long there was none."""

    def __init__(self) -> None:
        self._running, self._last, self._changed = 0, time.monotonic(), threading.Condition(threading.Lock())

    def __enter__(self) -> None:
        with self._changed:
            self._running += 1

    def __exit__(self, *_exception: object) -> None:
        with self._changed:
            self._running -= 1
            self._last = time.monotonic()
            if not self._running:
                self._changed.notify_all()

    def reset(self) -> None:
        """Count the time without a request from now."""
        with self._changed:
            self._last = time.monotonic()

    def idle_s(self) -> float:
        """Return the seconds without a request; 0 while one runs."""
        with self._changed:
            return 0.0 if self._running else time.monotonic() - self._last

    def wait_until_none(self, timeout_s: float) -> None:
        """Wait until no request runs, at most this long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._running, timeout_s)


def load(
    options: Mapping[str, Any],
    config: Any,
    common: Any,
    scheduler: batching.Scheduler | None,
    _name: str,
    _number: int,
    path: str,
) -> Session:
    """Return the session of the version at path, batched and warmed up as the options say. Raise Status or TensorFlow's errors."""
    loaded: Checked = (
        LiteSession(path, max(1, options["num_tflite_pools"]))
        if options["prefer_tflite_model"] and os.path.exists(os.path.join(path, LITE_FILE))
        else SavedModelSession(path, options["saved_model_tags"].split(","), config)
    )
    session: Session = loaded
    try:
        if scheduler:
            parameters = batching.parameters_of_model(path, common, options["enable_per_model_batching_parameters"])
            if parameters is not None:
                session = batching.BatchingSession(loaded, parameters, scheduler)
        if options["enable_model_warmup"]:
            warmup.run(path, session, _predictor(options), max(1, options["num_request_iterations_for_warmup"]))
        return session
    except BaseException:
        session.close()
        raise


def _predictor(options: Mapping[str, Any]) -> Predictor:
    import ml_dtypes

    return Predictor(ml_dtypes.bfloat16, options["enable_signature_method_name_check"])


def _tls(options: Mapping[str, Any]) -> Any:
    """Return the SSLConfig message in the file of the flags, or None. Raise Status."""
    if not options["ssl_config_file"]:
        return None
    tls = configuration.read_text_proto(options["ssl_config_file"], "tensorflow.serving.SSLConfig")
    if tls.client_verify and not tls.custom_ca:
        raise status.Status(
            "INVALID_ARGUMENT",
            f"{options['ssl_config_file']} has client_verify without custom_ca, so it would reject every client",
        )
    return tls


def _metrics_path(options: Mapping[str, Any]) -> str | None:
    """Return the path of the metrics in the flags, or None. Raise Status."""
    if not options["monitoring_config_file"] or not options["rest_api_port"]:
        return None
    wanted = configuration.read_text_proto(
        options["monitoring_config_file"], "tensorflow.serving.MonitoringConfig"
    ).prometheus_config
    return (wanted.path or metrics.PATH) if wanted.enable else None


def _connections() -> tuple[int, int]:
    """Return how many connections REST and gRPC may have, after raising this process's limit of descriptors to the hard limit."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))
    free = max(32, descriptors - _OTHER_DESCRIPTORS)
    rest = min(_REST_CONNECTIONS, free // 2)
    return rest, min(_GRPC_CONNECTIONS, free - rest)


def _common_parameters(options: Mapping[str, Any]) -> Any:
    if options["batching_parameters_file"]:
        return batching.read_parameters(options["batching_parameters_file"])
    return wire.message("tensorflow.serving.BatchingParameters")()


def _need_packages() -> None:
    for module, package in (
        ("numpy", "numpy"),
        ("google.protobuf", "protobuf"),
        ("grpc", "grpcio"),
        ("tensorflow", "tensorflow"),
    ):
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise status.Status(
                "FAILED_PRECONDITION", f"The Python package {package} is not installed for {sys.executable}"
            )


def _tensorflow_version() -> str:
    """Return the version of the installed package without importing it, which would take seconds."""
    from importlib import metadata

    for name in ("tensorflow", "tensorflow-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "none"


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _end(code: int) -> NoReturn:
    """End immediately: threads of TensorFlow and gRPC that still run must not delay the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
