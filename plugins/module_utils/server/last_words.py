# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a server ended, or never became ready: from how its container ended and what it said last, to a cause and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MOST_LINES = 4
_FINAL = "Failed to start server"
_TELLING = re.compile(r"^unknown argument:|^Couldn't interpret|: [EFW] \S+\] |^[EF]\d{4} \S+ +\d+ \S+\] "
                      r"|\] (Loading servable:|Could not find base path|No versions of)"
                      r"|^\w*(Error|Exception)\b|^Fatal|Check failed|^terminate called|Illegal instruction|aren't available on your machine")
# What says nothing although it looks as if it did: retries that are off say that they are exhausted after a success too.
_HARMLESS = re.compile(r"exhausted max_num_retries: 0$|Overriding num_tflite|Could not find cuda|computation_placer|cuda_\w+\.cc|Unable to register cu"
                       r"|^@ +0x|^\*\*\* Check failure stack trace")


@dataclass(frozen=True)
class Words:
    """cause: a clause. lines: what the server said of it, joined. remedy: an imperative sentence or None."""

    cause: str
    lines: str
    remedy: str | None


# (what the log must match, cause or None for the one by exit status, remedy), the first that matches holds.
_BY_LOG = (
    (r"aren't available on your machine|Illegal instruction", "this CPU lacks an instruction that the image was built with (SIGILL)",
     "Use the official image, or one built for this host's level."),
    (r"is not built into the embedded server", "the image is the embedded server, which lacks this", "Leave it out, or use an image of TensorFlow Serving."),
    (r"port is already allocated|[Aa]ddress already in use|Couldn't bind to port", "a port is taken", "Choose another port, or end what listens there."),
    (r"^Couldn't interpret value", "a flag's value cannot be read", "Mend the value in flags."),
    (r"Could not find base path", "the model's folder is not there for the server", "Give a model_base_path that holds versions, folders named by numbers."),
    (r"No versions of servable", "the model's folder holds no version", "Publish a version: a folder named by a number with saved_model.pb in it."),
    (r"batching_parameters|BatchingParameters|allowed_batch_sizes|max_batch_size|max_execution_batch_size|batch_timeout_micros",
     "the server refuses the batching parameters", "Mend the file; tfserving.fleet.batching_parameters checks it before it is written."),
    (r"Invalid protobuf file", "a configuration file is no valid text proto", "Mend the file that the server names."),
    (r"OCI permission denied", "the engine may not start it so", "Mend the engine or its limits: nothing of the server ran yet."),
    (r"[Pp]ermission denied", "the server may not read a file", "Let the server's user read it (chmod o+rX), or set user."),
    (r"did not become available|Loading servable: .* failed", "a model cannot be loaded", "Publish the model again, whole, or serve another version."),
    (r"BuildAndStart gRPC server|ssl_config_file|SSLConfig", "the TLS configuration is refused", "Give PEM texts, not paths, in ssl_config_file."),
)
_BY_SIGNAL = {
    4: ("SIGILL: this CPU lacks an instruction that the image was built with", "Use the official image, or one built for this host's level."),
    6: ("SIGABRT: a check inside the server failed", None),
    9: ("SIGKILL: killed from outside", "See the kernel's log (dmesg) for want of memory."),
    11: ("SIGSEGV: the server crashed", None),
    15: ("SIGTERM: somebody ended it", None),
}


def explain(exit_code, killed_for_memory, log, memory_mib=None, engine_error=""):
    """The Words about a server that is not there, or with exit_code None about one that is not ready. log: its output. engine_error: why it did not start."""
    text = "\n".join(part for part in (log, engine_error) if part)
    lines = _lines(text)
    if killed_for_memory:
        limit = f", its limit is {memory_mib} MiB" if memory_mib else ""
        return Words(f"it was killed for want of memory{limit} (OOM)", lines, "Give it more memory, or serve less on this host.")
    by_signal = _BY_SIGNAL.get(exit_code - 128) if exit_code is not None and exit_code > 128 else None
    if exit_code == 128 + 9 and memory_mib:
        return Words(f"SIGKILL: killed for want of memory (its limit is {memory_mib} MiB) or from outside, the engine does not tell", lines,
                     "Give it more memory; the kernel's log (dmesg) says which it was.")
    if by_signal and exit_code == 128 + 4:
        return Words(by_signal[0], lines, by_signal[1])
    for pattern, cause, remedy in _BY_LOG:
        if re.search(pattern, text, re.MULTILINE):
            return Words(cause + (f" (exit status {exit_code})" if exit_code and "SIGILL" not in cause else ""), lines, remedy)
    if by_signal:
        return Words(by_signal[0], lines, by_signal[1])
    if exit_code is None:
        return Words("it is still not ready", lines, "Allow more time (ready_timeout_s).")
    return Words(f"exit status {exit_code}", lines, None)


def unknown_argument(log):
    """The flag that the server did not understand and ignored, or None."""
    found = re.search(r"^unknown argument: (.*)$", log, re.MULTILINE)
    return found[1].strip() if found else None


def rest_missing(log):
    """Why the server serves no REST although it was asked to, or None."""
    found = re.search(r"^.*(Couldn't bind to port|Failed to start HTTP Server|Skipped exporting HTTP/REST API).*$", log, re.MULTILINE)
    return found[0].strip() if found else None


def _lines(text):
    lines = [line.strip() for line in text.splitlines() if line.strip() and not _HARMLESS.search(line.strip())]
    telling = list(dict.fromkeys(line for line in lines if line.startswith(_FINAL) or _TELLING.search(line)))
    telling = [line for line in telling if line.startswith(_FINAL)] or telling
    return " | ".join(line[:400] for line in (telling or lines)[-_MOST_LINES:]) or "nothing"
