#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: batching_parameters
short_description: Write TensorFlow Serving's batching parameters
version_added: "0.1.0"
description:
  - Writes the text proto that TensorFlow Serving reads with C(--enable_batching --batching_parameters_file), or, with O(per_model=true), the file
    C(batching_params.pbtxt) in each model version that it reads with C(--enable_batching --enable_per_model_batching_parameters).
  - Checks everything before anything is written. A server crashes on some wrong values, retries five minutes behind closed ports on others, and silently
    misuses the rest.
  - Where O(capabilities) are given, parameters that are not set get start values for the host, each with its reason. They harm nobody; what is best only a
    measurement tells, which M(tfserving.fleet.tuning) does.
  - A model whose requests cannot be batched is refused, where O(models[].directory) or O(models[].signatures) tells its signatures.
notes:
  - With O(per_model=true) a model without the file is not batched at all, whatever the server's own file says. The module warns of such models beside the
    ones it writes for.
  - A server reads a model's file when it loads the version. Changing the file in a loaded version has no effect; publish the model under a new version number,
    which takes it in about a second and without a restart. A server's own file needs a restart.
options:
  path:
    description:
      - The server's own file, an absolute path. Missing directories are made.
      - With O(per_model=true) it is optional and gets the thread parameters alone, as a server then reads nothing else from it.
    type: path
  per_model:
    description: Write a file for each of O(models) instead of one for all.
    type: bool
    default: false
  models:
    description: The models of the server.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The model's name, for messages.
        type: str
        required: true
      directory:
        description: Directory with the model's versions (its base path), from which its signatures are read. Required with O(per_model=true).
        type: path
      version:
        description: Number of the version to write for. Without it, the highest there is.
        type: int
      signatures:
        description:
          - Its signatures, as M(tfserving.fleet.saved_model_info) returns them, or those of them that clients call.
          - Without them they are read from the SavedModel in O(models[].directory).
        type: dict
      batching:
        description:
          - How the model is batched. V(auto), by the options of this module. A mapping of parameters, named like these options, wins over them. V(none)
            or null, not at all, which removes its file.
          - Without O(per_model=true) it must be the same for all models; where none is batched there is no file. The thread parameters must be the same
            in any case, as they go to the server's own file.
        type: raw
        default: auto
  state:
    description: Whether the files are there. With V(absent) the parameters do not matter.
    type: str
    choices: [present, absent]
    default: present
  capabilities:
    description: The host, as M(tfserving.fleet.capability_facts) returns it. Gives parameters that are not set a start value.
    type: dict
  saved_model_tags:
    description: Tags of the graph that is served in each SavedModel, as the server's flag C(saved_model_tags) names them.
    type: list
    elements: str
    default: [serve]
  goal:
    description: What start values aim at, low latency of single requests (V(online)) or throughput (V(bulk)).
    type: str
    choices: [online, bulk]
    default: online
  max_batch_size:
    description:
      - Most rows of a batch, 1 or more; also the most rows that one request may have.
      - With O(enable_large_batch_splitting=true) only the latter. The server's default is 1000.
    type: int
  batch_timeout_micros:
    description:
      - How long a batch waits for more rows, in microseconds, 0 to 3600000000. A lone client waits that long on every request.
      - The server's default is 0.
    type: int
  max_enqueued_batches:
    description:
      - Length of the queue of one signature of one model version, in batches, 1 or more. Requests beyond it are answered UNAVAILABLE.
      - It is not how many run at once. The server's default is 10.
    type: int
  num_batch_threads:
    description:
      - Batches that run at once, over all models, 1 to 10000. It is not the length of a queue.
      - The server's default is the CPUs it may be scheduled on, which ignores a CPU quota.
    type: int
  thread_pool_name:
    description: Name of the thread pool, 1 to 64 letters, digits, C(_), C(.) and C(-).
    type: str
  allowed_batch_sizes:
    description: Sizes to which batches are padded, increasing, the last one equal to O(max_batch_size). Without it any size is run.
    type: list
    elements: int
  pad_variable_length_inputs:
    description:
      - Whether examples of unlike shapes in one batch are padded with copies of the tensor's first element, or fail with all their batch.
      - Required, one way or the other, where a signature has variable dimensions beside the first.
    type: bool
  enable_large_batch_splitting:
    description: Whether a request may be larger than a batch; it is then cut. Needs O(max_batch_size), or O(capabilities) to choose it.
    type: bool
  max_execution_batch_size:
    description:
      - Most rows of a batch when O(enable_large_batch_splitting=true), 1 to O(max_batch_size), and one of O(allowed_batch_sizes) if these are given.
      - O(max_enqueued_batches) batches of this size must hold a request of O(max_batch_size) rows, or the server answers UNAVAILABLE for ever.
    type: int
extends_documentation_fragment:
  - ansible.builtin.files
  - tfserving.fleet.attributes
attributes:
  check_mode:
    description:
      - Checks and shows everything, writes nothing.
      - A model's version that an earlier task would have published may be missing.
  diff_mode:
    description: Shows the files before and after.
    support: full
seealso:
  - module: tfserving.fleet.capability_facts
  - module: tfserving.fleet.saved_model_info
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Batch up to 32 examples that wait at most a millisecond
  tfserving.fleet.batching_parameters:
    path: /etc/tfserving/batching.pbtxt
    max_batch_size: 32
    batch_timeout_micros: 1000
    num_batch_threads: 2

- name: Detect what the host can do
  tfserving.fleet.capability_facts:

- name: Start with what suits the host
  tfserving.fleet.batching_parameters:
    path: /etc/tfserving/batching.pbtxt
    capabilities: "{{ ansible_facts.tfserving_capabilities }}"
    goal: online

- name: Batch one model and not the other
  tfserving.fleet.batching_parameters:
    path: /etc/tfserving/batching.pbtxt
    per_model: true
    num_batch_threads: 4
    models:
      - name: digits
        directory: /srv/tfserving/models/digits/saved_model
        batching:
          max_batch_size: 32
      - name: words
        directory: /srv/tfserving/models/words/saved_model
        batching: none
"""

RETURN = r"""
path:
  description: The server's own file; null where there is none.
  returned: success
  type: str
  sample: /etc/tfserving/batching.pbtxt
text:
  description: What stands in it.
  returned: success, with O(state=present)
  type: str
  sample: "max_batch_size { value: 32 }\n"
parameters:
  description: The parameters in it, by name; null for those left to the server.
  returned: success, with O(state=present)
  type: dict
  sample: {max_batch_size: 32, batch_timeout_micros: null}
reasons:
  description: Why each parameter has its value; V(given) for those of the user.
  returned: success, with O(state=present)
  type: dict
  sample: {max_batch_size: given}
models:
  description: The files of the models, with O(per_model=true).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The model's name.
      type: str
      sample: digits
    path:
      description: The model's file.
      type: str
      sample: /srv/tfserving/models/digits/saved_model/1/batching_params.pbtxt
    text:
      description: What stands in it; null where the model is not batched.
      type: str
      sample: "max_batch_size { value: 32 }\n"
    parameters:
      description: The parameters in it, by name; null where the model is not batched.
      type: dict
      sample: {max_batch_size: 32}
    reasons:
      description: Why each parameter has its value; null where the model is not batched.
      type: dict
      sample: {max_batch_size: given}
actions:
  description: What was done, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: ["write /etc/tfserving/batching.pbtxt"]
"""

import grp
import os
import pwd
import stat

from ansible_collections.tfserving.fleet.plugins.module_utils._batching import files
from ansible_collections.tfserving.fleet.plugins.module_utils._batching.parameters import NAMES, given_of
from ansible_collections.tfserving.fleet.plugins.module_utils._core import atomic_files, shell
from ansible_collections.tfserving.fleet.plugins.module_utils._core.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import absolute_path, bounded, file_mode
from ansible_collections.tfserving.fleet.plugins.module_utils._model import manifest, saved_model

MODEL_FILES = ("saved_model.pb", "model.tflite")
NOTHING = {"text": None, "parameters": None, "reasons": None}
HIGHEST_VERSION = 2**63 - 1


def work(module):
    """Read what is there, decide, apply unless in check mode; return the module's result."""
    options = module.params
    check_attributes(options, module.check_mode)
    wanted, returned, warnings = plan(options, module.check_mode)
    before = {path: read(path) for path in wanted}
    decision = decide(before, wanted, warnings)
    if not module.check_mode:
        for path, text in wanted.items():
            if before[path] != text:
                write(path, text)
    differences = {path: set_attributes(module, path) for path, text in wanted.items() if text is not None}
    return with_attributes(
        decision.result(**returned),
        {path: found for path, found in differences.items() if found and before[path] is not None},
    )


def plan(options, check_mode):
    """({path: text, or None for a file that must not be there}, what the module returns, warnings)."""
    path = options["path"]
    if path is None and not options["per_model"]:
        raise FleetError(
            "missing; one file for all models needs its place", where="path", remedy="Set path, or per_model to true."
        )
    absolute_path("path", path)
    if path is not None and path.endswith("/"):
        raise FleetError(f"{path!r} is a directory's name, not a file's", where="path")
    for number, model in enumerate(options["models"]):
        absolute_path(f"models[{number}].directory", model["directory"])
        if model["version"] is not None:
            bounded(f"models[{number}].version", model["version"], 0, HIGHEST_VERSION)
    published = {model["name"]: version_directory(model) for model in options["models"]}
    places = (
        {name: os.path.join(version, manifest.BATCHING) for name, version in published.items() if version}
        if options["per_model"]
        else {}
    )
    if options["state"] == "absent":
        returned = {"path": path, "models": [dict(NOTHING, name=name, path=place) for name, place in places.items()]}
        return dict.fromkeys(filter(None, [path, *places.values()])), returned, []
    models = [
        dict(model, signatures=signatures_of(model, published[model["name"]], options["saved_model_tags"]))
        for model in options["models"]
    ]
    wish = files.Wish(
        given_of({name: options[name] for name in NAMES}), tuple(models), options["capabilities"], options["goal"]
    )
    if not options["per_model"]:
        server, warnings = files.for_server(wish)
        returned = server.as_dict(path) if server else dict(NOTHING, path=path)
        return {path: returned["text"]}, dict(returned, models=[]), warnings
    refuse_shared_places(path, places)
    warnings = [unpublished(model, check_mode) for model in models if not published[model["name"]]]
    server, of_models, doubts = files.per_model(wish, path is not None)
    made = {file.model: file.as_dict(places[file.model]) for file in of_models if file.model in places}
    described = [dict(made.get(name, dict(NOTHING, path=place)), name=name) for name, place in places.items()]
    wanted = dict({path: server.text} if server else {}, **{file["path"]: file["text"] for file in described})
    returned = dict(server.as_dict(path) if server else dict(NOTHING, path=None), models=described)
    return wanted, returned, warnings + doubts


def refuse_shared_places(path, places):
    """Raise FleetError where two models ({name: path}), or a model and the server, would have one file."""
    owners = {} if path is None else {os.path.realpath(path): "the server"}
    for name, place in places.items():
        owner = owners.setdefault(os.path.realpath(place), f"the model {name}")
        if owner != f"the model {name}":
            raise FleetError(
                f"its file {place} would also be that of {owner}",
                where=f"models: {name}",
                remedy="Give each a place of its own.",
            )


def check_attributes(options, check_mode):
    """Raise FleetError for a mode, owner or group that files cannot get, before anything is written. In check mode an account may come with a task before."""
    file_mode("mode", options["mode"])
    own = {"owner": {os.geteuid()}, "group": {os.getegid(), *os.getgroups()}}
    for option, number_of in (
        ("owner", lambda name: pwd.getpwnam(name).pw_uid),
        ("group", lambda name: grp.getgrnam(name).gr_gid),
    ):
        name = options[option]
        if name is None or check_mode:
            continue
        try:
            number = int(name) if name.isdecimal() else number_of(name)
        except KeyError as fault:
            raise FleetError(f"{name!r} is not known on this host", where=option) from fault
        if os.geteuid() and number not in own[option]:
            raise FleetError(f"this user may not give files to {name!r}", where=option, remedy="Use become.")


def version_directory(model):
    """Path of the version of a model that is meant, or None where it is not there."""
    there = versions(model["directory"]) if model["directory"] else {}
    number = max(there, default=None) if model["version"] is None else model["version"]
    return os.path.join(model["directory"], there[number]) if number in there else None


def signatures_of(model, version, tags):
    """The signatures given for a model, or those of its SavedModel; None where there is none to read."""
    if model["signatures"] is None and version and os.path.exists(os.path.join(version, "saved_model.pb")):
        return saved_model.read(version, tags)["signatures"]
    return model["signatures"]


def unpublished(model, check_mode):
    """A warning, in check mode, that a model has no version to write for; otherwise a FleetError."""
    where = f"models: {model['name']}"
    if model["directory"] is None:
        raise FleetError("directory is missing; per_model needs the place of each model", where=where)
    there = ", ".join(map(str, sorted(versions(model["directory"])))) or "none"
    what = f"{'no version' if model['version'] is None else 'version ' + str(model['version']) + ' is not'} there; {model['directory']} has: {there}"
    if not check_mode:
        raise FleetError(what, where=where, remedy="Publish the model first.")
    return f"{where}: {what}. A run that publishes it will write its file."


def versions(directory):
    """{number: name} of the model versions in a directory; none where it cannot be listed."""
    try:
        names = [name for name in os.listdir(directory) if name.isdecimal()]
    except OSError:
        return {}
    return {
        int(name): name
        for name in names
        if any(os.path.exists(os.path.join(directory, name, file)) for file in MODEL_FILES)
    }


def read(path):
    """The text at path, odd bytes replaced; None where nothing is. Raises FleetError where the file could not be replaced."""
    try:
        with open(path, "rb") as stream:
            text = stream.read().decode("utf-8", "replace")
    except FileNotFoundError:
        text = None
    except OSError as fault:
        raise FleetError(f"cannot be read: {fault.strerror}", where=path) from fault
    directory = os.path.dirname(path)
    while not os.path.exists(directory):
        directory = os.path.dirname(directory)
    if not os.access(directory, os.W_OK):
        raise FleetError(f"this user may not write to {directory}", where=path, remedy="Use become, or another path.")
    return text


def write(path, text):
    """Put text at path, whole or not at all, with the mode and owner of what it replaces; None removes the file."""
    try:
        if text is None:
            os.unlink(path)
        elif os.path.exists(path):
            former = os.stat(path)
            atomic_files.write_file(path, text.encode(), stat.S_IMODE(former.st_mode))
            if os.geteuid() == 0:
                os.chown(path, former.st_uid, former.st_gid)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            atomic_files.write_file(path, text.encode())
    except OSError as fault:
        raise FleetError(f"cannot be written: {fault.strerror}", where=path) from fault


def decide(before, wanted, warnings):
    """The Decision from {path: text or None} as it is and as it shall be."""
    changing = [path for path in wanted if before[path] != wanted[path]]
    actions = tuple(f"{'remove' if wanted[path] is None else 'write'} {path}" for path in changing)
    if len(changing) == 1:
        return Decision(
            True, before[changing[0]] or "", wanted[changing[0]] or "", actions, tuple(warnings), changing[0]
        )
    before_all, after_all = (
        "".join(f"# {path}\n{texts[path] or ''}" for path in changing) for texts in (before, wanted)
    )
    return Decision(bool(changing), before_all, after_all, actions, tuple(warnings))


def set_attributes(module, path):
    """Give a file that is there the mode, owner and group asked for; return what that changes, {before: {attribute: value}, after: {…}}, or None."""
    if not os.path.exists(path):
        return None
    difference = {}
    changed = module.set_fs_attributes_if_different(
        module.load_file_common_arguments(module.params, path=path), False, difference
    )
    return difference if changed else None


def with_attributes(result, differences):
    """The module's result with what set_attributes changed of files that were there before: {path: difference}."""
    if not differences:
        return result
    shown = [result["diff"]] if result["changed"] else []
    for path, difference in differences.items():
        texts = {
            side: "".join(f"{name}: {value}\n" for name, value in sorted(difference[side].items()))
            for side in ("before", "after")
        }
        shown.append(dict(texts, before_header=path, after_header=path))
        result["actions"] += [f"set {name} of {path} to {value}" for name, value in sorted(difference["after"].items())]
    return dict(result, changed=True, diff=shown[0] if len(shown) == 1 else shown)


def main():
    """The module."""
    argument_spec = {
        "path": {"type": "path"},
        "per_model": {"type": "bool", "default": False},
        "models": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "name": {"type": "str", "required": True},
                "directory": {"type": "path"},
                "version": {"type": "int"},
                "signatures": {"type": "dict"},
                "batching": {"type": "raw", "default": "auto"},
            },
        },
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "capabilities": {"type": "dict"},
        "saved_model_tags": {"type": "list", "elements": "str", "default": ["serve"]},
        "goal": {"type": "str", "choices": ["online", "bulk"], "default": "online"},
        "max_batch_size": {"type": "int"},
        "batch_timeout_micros": {"type": "int"},
        "max_enqueued_batches": {"type": "int"},
        "num_batch_threads": {"type": "int"},
        "thread_pool_name": {"type": "str"},
        "allowed_batch_sizes": {"type": "list", "elements": "int"},
        "pad_variable_length_inputs": {"type": "bool"},
        "enable_large_batch_splitting": {"type": "bool"},
        "max_execution_batch_size": {"type": "int"},
    }
    module = shell.FleetModule(argument_spec=argument_spec, supports_check_mode=True, add_file_common_args=True)
    shell.run(module, lambda: work(module))


if __name__ == "__main__":
    main()
