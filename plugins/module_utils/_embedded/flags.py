# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse the embedded server's command line as TensorFlow Serving parses its own: only --flag=value; unknown words are reported and ignored.

The flags are those of the newest release in the release table. WITHOUT_EFFECT and NOT_BUILT contain those that differ
here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions

FLAGS = questions.flags(questions.releases()[-1])

# Flags without effect, because this server does not have what they tune.
WITHOUT_EFFECT = frozenset(
    (
        "enable_profiler",
        "flush_filesystem_caches",
        "num_tflite_interpreters_per_pool",
        "num_unload_threads",
        "remove_unused_fields_from_bundle_metagraph",
        "skip_initialize_tpu",
    )
)
# Flags of missing features: any value except the default is refused at the start, because ignoring it would mislead
# users.
NOT_BUILT = frozenset(
    (
        "mixed_precision",
        "platform_config_file",
        "tensorflow_session_config_file",
        "thread_pool_factory_config_file",
        "use_alts_credentials",
    )
)

_TRUE, _FALSE = ("true", "1"), ("false", "0")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_TYPE_NAMES = {"int": "int32", "float": "float", "bool": "bool", "string": "string"}


@dataclass(frozen=True)
class CommandLine:
    """A parsed command line.

    values: {flag: value} of all flags, including defaults. unknown: the words that are not flags. faults: one text for
    each value that cannot be read.
    """

    values: dict[str, Any]
    unknown: tuple[str, ...]
    faults: tuple[str, ...]


def parse(words: Sequence[str], cpus: int) -> CommandLine:
    """Return the CommandLine of words (without the program's name). cpus: how many CPUs this process may use, for the defaults that depend on it."""
    unknown: list[str]
    faults: list[str]
    values, unknown, faults = defaults(cpus), [], []
    for position, word in enumerate(words):
        if word == "--":
            unknown += words[position:]
            break
        name, equals, text = word[2:].partition("=")
        if not word.startswith("--") or name not in FLAGS or not (equals or FLAGS[name][0] == "bool"):
            unknown.append(word)
            continue
        try:
            values[name] = _read(FLAGS[name][0], text if equals else "true")
        except ValueError:
            faults.append(f"Couldn't interpret value {text} for flag {name}.")
    return CommandLine(values, tuple(unknown), tuple(faults))


def defaults(cpus: int) -> dict[str, Any]:
    """Return {flag: default} on a machine with this many usable CPUs."""
    texts = {"4 x CPUs": 4 * cpus, "CPUs": cpus}
    return {name: texts.get(default, default) for name, (_kind, default) in FLAGS.items()}


def usage(program: str, cpus: int) -> str:
    """Return the text that --help and a wrong value print."""
    lines = []
    for name, default in defaults(cpus).items():
        shown = f'"{default}"' if isinstance(default, str) else str(default).lower()
        note = (
            "has no effect here"
            if name in WITHOUT_EFFECT
            else "not supported here: only the default is accepted"
            if name in NOT_BUILT
            else ""
        )
        lines.append(f"\t{f'--{name}={shown}':<33}\t{_TYPE_NAMES[FLAGS[name][0]]}\t{note}\n")
    return f"usage: {program}\nFlags:\n{''.join(lines)}"


def refusal(values: Mapping[str, Any], cpus: int) -> tuple[str, str] | None:
    """Return why a server with these flags must not start, as (code, text), or None. The texts are TensorFlow Serving's where it also refuses."""
    own = defaults(cpus)
    for name in sorted(NOT_BUILT):
        if values[name] != own[name]:
            return "UNIMPLEMENTED", f"--{name} is not built into the embedded server of tfserving.fleet"
    if values["port"] == 0 and not values["grpc_socket_path"]:
        return (
            "INVALID_ARGUMENT",
            "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set.",
        )
    if not values["model_base_path"] and not values["model_config_file"]:
        return "INVALID_ARGUMENT", "Both server_options.model_base_path and server_options.model_config_file are empty!"
    if values["batching_parameters_file"] and not values["enable_batching"]:
        return (
            "INVALID_ARGUMENT",
            "server_options.batching_parameters_file is set without setting server_options.enable_batching to true.",
        )
    # TensorFlow Serving aborts without a message on these.
    for name in ("grpc_max_threads", *(["rest_api_num_threads"] if values["rest_api_port"] else [])):
        if values[name] < 1:
            return "INVALID_ARGUMENT", f"server_options.{name} must be at least 1, is {values[name]}."
    arguments = values["grpc_channel_arguments"]
    if arguments and not all("=" in argument for argument in arguments.split(",")):
        return "INVALID_ARGUMENT", f"server_options.grpc_channel_arguments must be NAME=VALUE,..., is {arguments}."
    threads = [values[f"tensorflow_{part}_parallelism"] for part in ("session", "intra_op", "inter_op")]
    if all(count > 0 for count in threads):
        return "INVALID_ARGUMENT", (
            "Either configure server_options.tensorflow_session_parallelism or (server_options.tensorflow_intra_op_parallelism, "
            "server_options.tensorflow_inter_op_parallelism) separately. You cannot configure all."
        )
    return None


def parallelism(values: Mapping[str, int]) -> tuple[int, int]:
    """Return (intra, inter): the threads of one op, and the ops that run in parallel; 0 lets TensorFlow decide."""
    intra, inter = values["tensorflow_intra_op_parallelism"], values["tensorflow_inter_op_parallelism"]
    if intra > 0 or inter > 0:
        return intra, inter
    return values["tensorflow_session_parallelism"], values["tensorflow_session_parallelism"]


def _read(kind: str, text: str) -> Any:
    if kind == "string":
        return text
    if kind == "float":
        return float(text)
    if kind == "bool":
        if text.lower() not in _TRUE + _FALSE:
            raise ValueError(text)
        return text.lower() in _TRUE
    if not _WHOLE.fullmatch(text) or not -(2**63) <= int(text) < 2**63:
        raise ValueError(text)
    return int(text)
