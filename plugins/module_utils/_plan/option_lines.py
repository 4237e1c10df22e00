# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Translate options as articles and old notes spell them (server flags, docker run options, build arguments, saved_model_cli lines) to current ones."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import looks_secret
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import (
    docker_options,
    flags,
    shell_words,
    start_line,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.docker_options import Context
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.shell_words import Item
from ansible_collections.tfserving.fleet.plugins.module_utils._release import table
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import server_options

_BATCHING_TEXTS = {
    "max_enqueued_batches": "max_enqueued_batches is the length of the queue per signature and version; if it is full, the server answers UNAVAILABLE. "
    "num_batch_threads is how many batches run at once",
    "num_batch_threads": "num_batch_threads is how many batches run at once over all models of the server. max_enqueued_batches is how many may wait",
}
# Flags that the role tfs_server sets itself: what to set instead. A path in a start line may be one in a container, so
# only ports are applied.
OWN = {
    **flags.REFUSED,
    "batching_parameters_file": "batching in tfserving_models to the parameters in the file",
    "monitoring_config_file": "tfs_server_monitoring: true",
    "tensorflow_session_config_file": "tfs_server_session_config_file, a path on the host",
    "ssl_config_file": "tfs_server_ssl_config_file, a path on the host",
}
_TRUE, _FALSE = ("", "true", "1"), ("false", "0")


# $NAME, ${NAME}, ${NAME:-default}; $(NAME) is Kubernetes'.
_SHELL_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^${}]*))?\}|\((\w+)\)|(\w+))|\$[({!?$#@]|`")
# Differences between the spelling of a flag and what the server reads (Item.spelling).
_SPELLINGS = {
    "": "a server flag",
    "blank": "the server ignores a value after a space: it accepts only --flag=value",
    "dash": "the server ignores a flag with one dash",
    "no": "the server does not know the prefix no: it accepts only --flag=false",
}


@dataclass(frozen=True)
class Answer:
    """The current meaning of a line. sets: the keys of the request that it stands for; empty if the line was only a question."""

    today: str
    reason: str
    sets: dict[str, Any]


def understand(request: Any) -> tuple[dict[str, Any], list[Any], list[Any], list[str]]:
    """Add what request["options"] (a list of lines) means to the other keys of the request, which override the lines. A later line overrides an earlier one.

    Return (request, answers, refusals, warnings). answers are [{given, today, reason}]; refusals are keyword arguments
    of Draft.refuse for what is not applied. The request's key `serve` contains defaults of the role tfs_server.
    """
    wanted, answers, refusals, warnings = dict(request, serve={}), [], [], []
    merged: dict[str, Any] = {}
    lines = lines_of(request["options"])
    found = [item for line in lines for item in items(line)]
    context = _context(found, request, "\n".join(line for line in lines if isinstance(line, str)))
    for item in found:
        answer = translate(item, context)
        if isinstance(answer, Answer):
            answers.append({"given": shown(item), "today": answer.today, "reason": answer.reason})
            warnings += _merge(merged, answer.sets, shown(item))
            continue
        others = [other.given for other in found if other != item and not is_secret(other)]
        reason, remedy = (
            (answer.reason, answer.remedy)
            if answer
            else (
                "it is not a server flag, docker run option, build argument or saved_model_cli line",
                docker_options.LEAVE_OUT,
            )
        )
        refusals.append(
            {"subject": f"option {shown(item)}", "reason": reason, "remedy": remedy, "change": {"options": others}}
        )
    warnings += _overruled(merged, wanted)
    _put(wanted, merged)
    return wanted, answers, refusals, warnings


def lines_of(options: Any) -> Any:
    """Return the lines with those that belong together joined.

    These are the words of a command in separate entries, and an option with its value in the next entry.
    """
    lines = list(options)
    words = [isinstance(line, str) and len(line.split()) == 1 for line in lines]
    found, at = [], 0
    while at < len(lines):
        end = at + 1
        if words[at] and shell_words.begins_a_command(lines[at]):
            while end < len(lines) and words[end]:
                end += 1
        elif words[at] and shell_words.takes_a_value(lines[at]) and all(words[at + 1 : at + 2]):
            end += bool(lines[at + 1 : at + 2]) and not lines[at + 1].startswith("-")
        found.append(lines[at] if end == at + 1 else " ".join(lines[at:end]))
        at = end
    return found


def items(line: Any) -> list[Item]:
    """Return the Items (start_line) of a line. A line with a meaning as a whole is one Item."""
    if isinstance(line, str):
        text = line.strip()
        if any(
            understand_as(_unclothed(text)) for understand_as in (_batching_text, _build_argument, _saved_model_cli)
        ):
            return [shell_words.Item("line", _unclothed(text), None, line)]
    found = [item for item in start_line.items(line) if item.kind != "silent"]
    return (
        [replace(found[0], given=line)]
        if len(found) == 1 and isinstance(line, str) and "\n" not in line.strip()
        else found
    )


def translate(item: Item, context: Context) -> Any:
    """Return the meaning of an Item: an Answer, docker_options.Lost, or None if it means nothing here."""
    if item.kind == "line":
        return next(
            filter(
                None,
                (understand_as(item.name) for understand_as in (_batching_text, _build_argument, _saved_model_cli)),
            )
        )
    if item.kind == "flag":
        return _server_flag(item, context)
    if item.kind == "environment":
        return _variable(item, context)
    if item.kind not in ("docker", "image"):
        return None
    value, unknown = _expanded(item.name if item.kind == "image" else item.value, context)
    if item.kind == "image":
        found = _of_shell("image", unknown) if unknown else docker_options.image(value)
    else:
        found = docker_options.answer(item.name, value, context)
    return Answer(found.today, found.reason, found.sets) if isinstance(found, docker_options.Taken) else found


def is_secret(item: Item) -> bool:
    """Return whether an Item's value must not be shown."""
    return item.kind == "environment" and looks_secret(item.name, item.value)


def shown(item: Item) -> str:
    """Return an Item as messages name it."""
    return f"{item.name}=(not shown)" if is_secret(item) else item.given


def _unclothed(text: str) -> Any:
    """Return a build argument or saved_model_cli line without what surrounds it in a script or a list."""
    text = re.sub(r"^[-$]\s+", "", text.strip()).rstrip("\\,").strip()
    return re.sub(r"^--build-arg[ =]", "", text)


def _context(found: Any, request: Any, script: Any) -> Context:
    """Return the docker_options.Context of the Items. script: the lines that are texts."""
    given = {item.name: item.value for item in found if item.kind == "flag"}
    environment: dict[str, Any] = {}
    for item in found:
        if item.kind == "environment":
            environment[item.name] = _expanded(item.value, docker_options.Context({}, environment))[0]
    inserted = frozenset(one.group(1) or one.group(4) for one in _SHELL_VARIABLE.finditer(script))
    return docker_options.Context(given, environment, tuple(request["models"]), inserted)


def _variable(item: Item, context: Context) -> Any:
    value, unknown = _expanded(item.value, context)
    if item.name in context.inserted and f"${item.name}" not in item.value.translate({ord("{"): None}):
        return Answer("nothing", "a variable of the script, inserted where its value is used", {})
    if item.name == "MODEL_BASE_PATH" and "://" in value:
        return _own("model_base_path", value, context)
    if item.name in ("MODEL_NAME", "MODEL_BASE_PATH"):
        names = [model.get("name") for model in context.models if isinstance(model, dict)]
        if item.name == "MODEL_BASE_PATH" or value in names:
            return Answer(
                "tfserving_models, with name and source", "models are published on the host, and mounted from there", {}
            )
        return docker_options.Lost(
            f"the model {value!r} is not in tfserving_models",
            f"{docker_options.LEAVE_OUT}, and set tfserving_models: [{{name: {value}, source: …}}]",
        )
    if is_secret(item):
        return docker_options.Lost(
            f"{item.name} looks like a secret, and the plan would show its value",
            f"{docker_options.LEAVE_OUT}, and set {item.name} in tfs_server_secret_environment, from a vault",
        )
    if unknown:
        return _of_shell(item.name, unknown)
    return Answer(
        f"tfserving_environment: {{{item.name}: {value!r}}}",
        "an environment variable of the server",
        {"environment": {item.name: value}},
    )


def _of_shell(what: str, unknown: Any) -> Any:
    return docker_options.Lost(
        f"the value of {what} contains {unknown}, which only the shell of the script knows",
        f"{docker_options.LEAVE_OUT}, or write the value in its place",
    )


def _expanded(text: str, context: Context) -> Any:
    """Return (the text with the variables of the lines expanded, the shell syntax that is left or None)."""

    def known(found: Any) -> Any:
        name = found.group(1) or found.group(3) or found.group(4)
        return str(context.environment.get(name, found.group() if found.group(2) is None else found.group(2)))

    text = _SHELL_VARIABLE.sub(known, text or "")
    left = _SHELL_VARIABLE.search(text)
    return text, left.group() if left else None


def _merge(merged: Any, sets: Any, given: Any) -> Any:
    """Add what a line sets to what earlier lines set, overriding them. Return warnings about different values."""
    warnings = []
    for key, value in sets.items():
        for name, setting in value.items() if isinstance(value, dict) else [(None, value)]:
            place = merged.setdefault(key, {}) if name is not None else merged
            at = key if name is None else name
            if at in place and place[at] != setting:
                warnings.append(
                    f"tfserving_options sets {at} twice, {server_options.spelt(place[at])} and {server_options.spelt(setting)}: the later one, {given}, applies"
                )
            place[at] = setting
    return warnings


def _overruled(merged: Any, wanted: dict[str, Any]) -> Any:
    """Return warnings about lines that set other values than the variables of the inventory, which apply."""
    warnings = []
    for key in ("flags", "environment"):
        for name, value in merged.get(key, {}).items():
            if name in wanted[key] and str(wanted[key][name]).lower() != str(value).lower():
                warnings.append(
                    f"tfserving_{key} sets {name} to {server_options.spelt(wanted[key][name])} and tfserving_options to "
                    f"{server_options.spelt(value)}: tfserving_{key} applies"
                )
    for key in ("version", "cpus", "image"):
        if key in merged and wanted[key] not in (None, merged[key]):
            warnings.append(
                f"tfserving_{key} is {wanted[key]} and tfserving_options sets {merged[key]}: tfserving_{key} applies"
            )
    return warnings


def _put(wanted: dict[str, Any], sets: Any) -> None:
    for key, value in sets.items():
        if key in ("flags", "environment", "serve"):
            wanted[key] = dict(value, **wanted[key])
        elif key == "optimize":
            wanted["models"] = [
                dict(model, optimize=value)
                if isinstance(model, dict) and model.get("optimize") in (None, "auto")
                else model
                for model in wanted["models"]
            ]
        elif wanted[key] in (None, False, "auto"):
            wanted[key] = value


def _batching_text(text: str) -> Any:
    found = re.match(r"(max_enqueued_batches|num_batch_threads)\b", text)
    return (
        Answer(_BATCHING_TEXTS[found.group(1)], "many articles swap the descriptions of these two", {})
        if found
        else None
    )


def _build_argument(text: str) -> Any:
    name, equals, value = text.partition("=")
    value = value.strip("\"'")
    is_option = re.match(r"--(config|copt)=", text)
    if is_option or name == "TF_SERVING_BUILD_OPTIONS" and equals:
        options = text if is_option else value
        return Answer(
            f"tfserving_build: true with tfserving_build_options: {options}",
            "the argument replaces the default --config=release, and --config=nativeopt binds the image to the machine that builds it",
            {"build": True, "build_options": options},
        )
    if name in ("TF_SERVING_VERSION_GIT_BRANCH", "TF_SERVING_VERSION_GIT_COMMIT") and equals:
        release = re.match(r"[rv]?(\d+\.\d+(?:\.\d+)?)$", value)
        reason = "since 2.5 the branch is a label: the commit selects the sources, and a build of this collection pins both to the release"
        return (
            Answer(f"tfserving_version: {release.group(1)}", reason, {"version": release.group(1)})
            if release
            else Answer("tfserving_version, with a release", reason, {})
        )
    if name == "TF_SERVING_BUILD_IMAGE" and equals:
        return Answer(
            "nothing: the recipe of a build names its devel image",
            "without it the runtime image would take the official latest-devel",
            {},
        )
    return None


def _saved_model_cli(text: str) -> Any:
    if not text.startswith("saved_model_cli ") or " tensorrt" not in text:
        return None
    dropped = [flag for flag in ("--max_batch_size", "--is_dynamic_op") if flag in text]
    reason = (
        f"{' and '.join(dropped)} no longer exist, and the command fails with them"
        if dropped
        else "the command builds no engine and gives 2 MiB of workspace"
    )
    return Answer(
        "optimize: tensorrt for the model: --precision_mode FP16 with --max_workspace_size_bytes set, the engines built on the GPU that serves them",
        reason,
        {"optimize": "tensorrt"},
    )


def _server_flag(item: Item, context: Context) -> Any:
    name, (value, unknown) = item.name, _expanded(item.value, context)
    if not re.fullmatch(r"\w+", name):
        return None
    if unknown and (name not in ("model_name", "model_base_path") or not context.models):
        return _of_shell(f"--{name}", unknown)
    today = table.FORMER_FLAGS.get(name, (name,))[0]
    kind = table.FLAGS.get(today, ("string",))[0]
    typed = _value(kind, value.strip("\"'"))
    reason = (
        f"{table.FORMER_FLAGS[name][1]}; the server silently ignores the old name"
        if name in table.FORMER_FLAGS and not item.spelling
        else _SPELLINGS[item.spelling]
    )
    if today in OWN:
        return _own(today, typed, context)
    sets = {"flags": {today: typed}}
    if today == table.TFLITE["flag"] and typed is True:
        return Answer(
            f"optimize: tflite_dynamic_range for the models, which sets --{today}=true",
            reason,
            dict(sets, optimize="tflite_dynamic_range"),
        )
    return Answer(f"--{today}={server_options.spelt(typed)}", reason, sets)


def _own(flag: Any, value: Any, context: Context) -> Any:
    """Return the answer to a flag that corresponds to something other than a flag in this collection."""
    names = [model.get("name") for model in context.models if isinstance(model, dict)]
    if (
        flag == "model_name"
        and (value in names or "$" in str(value))
        or flag == "model_base_path"
        and names
        and "://" not in str(value)
    ):
        return Answer(
            "tfserving_models, with name and source",
            "models are published on the host, and the collection sets this flag",
            {},
        )
    if flag == "model_base_path" and "://" in str(value):
        return docker_options.Lost(
            f"{value} cannot be read by the server: models are published on the host, and official images do not support s3:// since 2.7",
            f"{docker_options.LEAVE_OUT}, and set source: {value} in tfserving_models, or copy the versions to the host with "
            "tfserving.fleet.model_version",
        )
    return docker_options.Lost(
        f"the collection sets --{flag} itself, from a variable", f"{docker_options.LEAVE_OUT}, and set {OWN[flag]}"
    )


def _value(kind: Any, text: str) -> Any:
    if kind == "bool" and text.lower() in _TRUE + _FALSE:
        return text.lower() in _TRUE
    try:
        if "_" in text:  # Only Python reads 1_000 as a number.
            return text
        return {"int": int, "float": float}.get(kind, str)(text)
    except ValueError:
        return text
