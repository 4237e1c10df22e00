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
  folder_owner:
    description:
      - An account, by name or UID, in whose folders root works beside its own and those of the account that root was reached from, such as the account that
        the server runs as. Links that it puts there are not followed.
    type: str
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

from ansible_collections.tfserving.fleet.plugins.module_utils._core import shell
from ansible_collections.tfserving.fleet.plugins.module_utils._model import batching_files


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
        "folder_owner": {"type": "str"},
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

    def set_attributes(path):
        """What the options of file attributes change of a file, {before: {attribute: value}, after: …}, or None; it is changed unless in check mode."""
        difference = {}
        arguments = module.load_file_common_arguments(module.params, path=path)
        return difference if module.set_fs_attributes_if_different(arguments, False, difference) else None

    shell.run(module, lambda: batching_files.run(module.params, module.check_mode, set_attributes))


if __name__ == "__main__":
    main()
