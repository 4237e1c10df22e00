# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options as articles and old notes spell them (server flags, docker run options, build arguments, saved_model_cli lines): what they mean today."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.tfserving.fleet.plugins.module_utils.capability import limits
from ansible_collections.tfserving.fleet.plugins.module_utils.common.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils.release import table

_BATCHING_TEXTS = {
    "max_enqueued_batches": "max_enqueued_batches is the length of the queue per signature and version; a full queue answers UNAVAILABLE. "
                            "How many batches run at once is num_batch_threads",
    "num_batch_threads": "num_batch_threads is how many batches run at once over all models of the server. How many may wait is max_enqueued_batches",
}
_TRUE, _FALSE = ("", "true", "True", "1"), ("false", "False", "0")


@dataclass(frozen=True)
class Answer:
    """What a line means today. sets: the request's keys that it stands for; empty where the line only described something."""

    today: str
    reason: str
    sets: dict


def understand(request):
    """Put what request["options"] (a list of lines) says into the request's own keys, which win over the lines.

    Returns (request, answers, refusals): answers are [{given, today, reason}], refusals keyword arguments of Draft.refuse for lines that mean nothing.
    """
    wanted, answers, refusals = dict(request), [], []
    for line in (str(given) for given in request["options"]):
        answer = translate(line)
        if answer is None:
            others = [other for other in request["options"] if other != line]
            refusals.append({"subject": f"option {line}", "reason": "it is no server flag, docker run option, build argument or saved_model_cli line",
                             "remedy": "Leave it out of tfserving_options", "change": {"options": others}})
            continue
        answers.append({"given": line, "today": answer.today, "reason": answer.reason})
        _put(wanted, answer.sets)
    return wanted, answers, refusals


def without(lines, change):
    """The lines that do not set what change (a part of a request) sets: a correction of the request replaces them."""
    return [line for line in lines if not _overlap((translate(str(line)) or Answer("", "", {})).sets, change)]


def translate(line):
    """The Answer to one line, or None for one that means nothing here."""
    text = re.sub(r"^--build-arg[ =]", "", line.strip())
    for understand_as in (_batching_text, _build_argument, _saved_model_cli, _docker_run, _server_flag):
        answer = understand_as(text)
        if answer:
            return answer
    return None


def _put(wanted, sets):
    for key, value in sets.items():
        if key == "flags":
            wanted["flags"] = dict(value, **wanted["flags"])
        elif key == "optimize":
            wanted["models"] = [dict(model, optimize=value) if isinstance(model, dict) and model.get("optimize") in (None, "auto") else model
                                for model in wanted["models"]]
        elif wanted[key] in (None, False, "auto"):
            wanted[key] = value


def _overlap(sets, change):
    return any(key in change and (key != "flags" or set(value) & set(change["flags"])) for key, value in sets.items()) or (
        "optimize" in sets and isinstance(change.get("models"), dict))


def _batching_text(text):
    found = re.match(r"(max_enqueued_batches|num_batch_threads)\b", text)
    return Answer(_BATCHING_TEXTS[found.group(1)], "the two descriptions are swapped in many articles", {}) if found else None


def _build_argument(text):
    name, equals, value = text.partition("=")
    value = value.strip("\"'")
    if re.match(r"--(config|copt)=", text):
        name, equals, value = "TF_SERVING_BUILD_OPTIONS", "=", text
    if name == "TF_SERVING_BUILD_OPTIONS" and equals:
        return Answer(f"tfserving_build: true with tfserving_build_options: {value}",
                      "the argument replaces the default --config=release, and --config=nativeopt binds the image to the machine that builds it",
                      {"build": True, "build_options": value})
    if name in ("TF_SERVING_VERSION_GIT_BRANCH", "TF_SERVING_VERSION_GIT_COMMIT") and equals:
        release = re.match(r"[rv]?(\d+\.\d+(?:\.\d+)?)$", value)
        reason = "since 2.5 the branch is a label: the commit selects the sources, and an own build pins both to the release"
        return Answer(f"tfserving_version: {release.group(1)}", reason, {"version": release.group(1)}) if release else Answer(
            "tfserving_version, with a release", reason, {})
    if name == "TF_SERVING_BUILD_IMAGE" and equals:
        return Answer("nothing: the recipe of an own build names its own devel image", "without it the runtime image would take the official latest-devel", {})
    return None


def _saved_model_cli(text):
    if not text.startswith("saved_model_cli ") or " tensorrt" not in text:
        return None
    dropped = [flag for flag in ("--max_batch_size", "--is_dynamic_op") if flag in text]
    reason = f"{' and '.join(dropped)} no longer exist and end the command" if dropped else "the command builds no engine and gives 2 MiB of workspace"
    return Answer("optimize: tensorrt for the model: --precision_mode FP16 with --max_workspace_size_bytes set, the engines built on the GPU that serves them",
                  reason, {"optimize": "tensorrt"})


def _docker_run(text):
    if text in ("--runtime=nvidia", "--runtime nvidia"):
        return Answer("tfserving_gpu: require (--gpus all)",
                      "that runtime is of nvidia-docker 2, archived in 2024; engines hand out GPUs themselves since Docker 19.03", {"gpu": "require"})
    if re.match(r"--gpus[ =]", text):
        return Answer("tfserving_gpu: require", "the plan names the devices itself", {"gpu": "require"})
    found = re.match(r"--cpuset-cpus[ =]([\d,-]+)$", text)
    count = _count_of(found.group(1)) if found else 0
    if count:
        return Answer(f"tfserving_cpus: {count} (a CPU set)", "the plan chooses which CPUs, among those that this host's processes may use",
                      {"cpus": float(count)})
    found = re.match(r"--cpus[ =](\d+(?:\.\d+)?)$", text)
    if found:
        return Answer(f"tfserving_cpus: {found.group(1)} (a CPU set)", "TensorFlow does not see a CFS quota and would start threads for every CPU of the host",
                      {"cpus": float(found.group(1))})
    return None


def _count_of(cpus):
    try:
        return len(limits.parse_cpu_list(cpus))
    except FleetError:
        return 0


def _server_flag(text):
    found = re.match(r"--(\w+)(?:(=|\s+)(.*))?$", text)
    if not found:
        return None
    name, separator, value = found.group(1), found.group(2) or "", (found.group(3) or "").strip("\"'")
    today = table.FORMER_FLAGS.get(name, (name,))[0]
    kind = table.FLAGS.get(today, ("string",))[0]
    typed = _value(kind, value)
    spaced = separator.strip() == "" and separator != ""
    reason = ("a value after a blank is ignored by the server: it takes --flag=value only" if spaced
              else f"{table.FORMER_FLAGS[name][1]}; under the old name it is ignored without an error" if name in table.FORMER_FLAGS else "a server flag")
    sets = {"flags": {today: typed}}
    if today == table.TFLITE["flag"] and typed is True:
        return Answer(f"optimize: tflite_dynamic_range for the models, which sets --{today}=true", reason, dict(sets, optimize="tflite_dynamic_range"))
    return Answer(f"--{today}={_spelt(typed)}", reason, sets)


def _value(kind, text):
    if kind == "bool" and text in _TRUE + _FALSE:
        return text in _TRUE
    try:
        return {"int": int, "float": float}.get(kind, str)(text)
    except ValueError:
        return text


def _spelt(value):
    return str(value).lower() if isinstance(value, bool) else str(value)
