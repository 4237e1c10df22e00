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
  - Writes the text file that TensorFlow Serving reads with C(--enable_batching --batching_parameters_file). With O(per_model=true), it writes the file
    C(batching_params.pbtxt) in each model version, which TensorFlow Serving reads with C(--enable_batching --enable_per_model_batching_parameters).
  - Checks everything before it writes anything. A server crashes on some wrong values, retries on others for five minutes without opening its ports, and
    silently misuses the rest.
  - With O(capabilities), parameters that are not set get start values for the host, each with its reason. Start values are safe. Only a measurement shows the
    best values, see M(tfserving.fleet.tuning).
  - A model whose requests cannot be batched is refused, if O(models[].directory) or O(models[].signatures) gives its signatures.
notes:
  - With O(per_model=true), a model without the file is not batched at all, whatever the server's own file contains. The module warns about such models next to
    those that it writes for.
  - A server reads a model's file when it loads the version. A change of the file of a loaded version has no effect. Publish the model with a new version number
    instead, which takes effect in about a second and without a restart. A server's own file needs a restart.
options:
  path:
    description:
      - Absolute path of the server's own file. The module creates missing directories.
      - Optional with O(per_model=true). The file then gets only the thread parameters, since a server reads nothing else from it.
    type: path
  folder_owner:
    description:
      - Account, by name or UID, such as the one that the server runs as. When the module runs as root, it also works in folders that this account owns, not
        only in those of root and of the account that became root. The module does not follow links that this account creates there.
    type: str
  per_model:
    description: Write a file for each of O(models), instead of one for all.
    type: bool
    default: false
  models:
    description: Models of the server.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the model, for messages.
        type: str
        required: true
      directory:
        description: Directory with the model's versions (its base path). The module reads the signatures from there. Required with O(per_model=true).
        type: path
      version:
        description:
          - Number of the version to write for. Without it, all versions in O(models[].directory), since a server may serve several, and serves an earlier one
            when a later one is withdrawn. The signatures are then those of the highest version.
        type: int
      signatures:
        description:
          - Signatures of the model, as M(tfserving.fleet.saved_model_info) returns them, or those of them that clients call.
          - Without them, the module reads the SavedModel in O(models[].directory).
        type: dict
      batching:
        description:
          - How the model is batched. V(auto) uses the options of this module. A mapping of parameters, with the names of these options, takes precedence over
            them. V(none) or null means no batching, and removes the model's file.
          - Without O(per_model=true), it must be the same for all models. If no model is batched, there is no file. The thread parameters must be the same in
            any case, since they go to the server's own file.
        type: raw
        default: auto
  state:
    description: Whether the files must exist. With V(absent) the parameters do not matter.
    type: str
    choices: [present, absent]
    default: present
  capabilities:
    description: Capabilities of the host, as M(tfserving.fleet.capability_facts) returns them. Parameters that are not set then get a start value.
    type: dict
  saved_model_tags:
    description: Tags of the graph that is served, as in the server's flag C(saved_model_tags), in each SavedModel.
    type: list
    elements: str
    default: [serve]
  goal:
    description: Goal of the start values, low latency of single requests (V(online)) or throughput (V(bulk)).
    type: str
    choices: [online, bulk]
    default: online
  max_batch_size:
    description:
      - Maximum number of rows in a batch, 1 or more, and in one request.
      - With O(enable_large_batch_splitting=true) only the latter. The server's default is 1000.
    type: int
  batch_timeout_micros:
    description:
      - How long a batch waits for more rows, in microseconds, 0 to 3600000000. A single client waits that long on every request.
      - The server's default is 0.
    type: int
  max_enqueued_batches:
    description:
      - Length of the queue of one signature of one model version, in batches, 1 or more. The server answers further requests with UNAVAILABLE.
      - It is not the number of batches that run at the same time. The server's default is 10.
    type: int
  num_batch_threads:
    description:
      - Number of batches that run at the same time, over all models, 1 to 10000. It is not the length of a queue.
      - The server's default is the number of CPUs that it may be scheduled on, which ignores a CPU quota.
    type: int
  thread_pool_name:
    description: Name of the thread pool, 1 to 64 letters, digits, C(_), C(.) and C(-).
    type: str
  allowed_batch_sizes:
    description: Sizes to which batches are padded, in increasing order. The last one must be equal to O(max_batch_size). Without it, batches of any size run.
    type: list
    elements: int
  pad_variable_length_inputs:
    description:
      - Whether to pad examples of different shapes in one batch with copies of the tensor's first element. Otherwise such a batch fails as a whole.
      - Required if a signature has variable dimensions other than the first.
    type: bool
  enable_large_batch_splitting:
    description: Whether a request may be larger than a batch. The server then splits it. Requires O(max_batch_size), or O(capabilities) to choose it.
    type: bool
  max_execution_batch_size:
    description:
      - Maximum number of rows in a batch with O(enable_large_batch_splitting=true), 1 to O(max_batch_size). Must be one of O(allowed_batch_sizes) if these are
        given.
      - O(max_enqueued_batches) batches of this size must hold a request of O(max_batch_size) rows, otherwise the server always answers such a request with
        UNAVAILABLE.
    type: int
extends_documentation_fragment:
  - ansible.builtin.files
  - tfserving.fleet.attributes
attributes:
  check_mode:
    description:
      - Checks and shows everything, writes nothing.
      - A version that an earlier task would publish may be missing.
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

- name: Detect the capabilities of the host
  tfserving.fleet.capability_facts:

- name: Write start values for the host
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
  description: Path of the server's own file. Null without one.
  returned: success
  type: str
  sample: /etc/tfserving/batching.pbtxt
text:
  description: Content of the server's own file.
  returned: success, with O(state=present)
  type: str
  sample: "max_batch_size { value: 32 }\n"
parameters:
  description: Parameters in the server's own file, by name. Null for those that the server chooses.
  returned: success, with O(state=present)
  type: dict
  sample: {max_batch_size: 32, batch_timeout_micros: null}
reasons:
  description: Why each parameter has its value. V(given) for values of the user.
  returned: success, with O(state=present)
  type: dict
  sample: {max_batch_size: given}
models:
  description: Files of the models, with O(per_model=true).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the model.
      type: str
      sample: digits
    path:
      description: Path of the model's file, in the highest version if the module writes for several.
      type: str
      sample: /srv/tfserving/models/digits/saved_model/1/batching_params.pbtxt
    text:
      description: Content of the model's file. Null if the model is not batched.
      type: str
      sample: "max_batch_size { value: 32 }\n"
    parameters:
      description: Parameters in the model's file, by name. Null if the model is not batched.
      type: dict
      sample: {max_batch_size: 32}
    reasons:
      description: Why each parameter has its value. Null if the model is not batched.
      type: dict
      sample: {max_batch_size: given}
actions:
  description: Actions that the module took, or would take in check mode.
  returned: success
  type: list
  elements: str
  sample: ["write /etc/tfserving/batching.pbtxt"]
"""

from ansible_collections.tfserving.fleet.plugins.module_utils._core import shell
from ansible_collections.tfserving.fleet.plugins.module_utils._model import batching_files


def main():
    """Run the module."""
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
        """Apply the file attributes unless in check mode. Return {before: {attribute: value}, after: …}, or None if nothing changes."""
        difference = {}
        arguments = module.load_file_common_arguments(module.params, path=path)
        return difference if module.set_fs_attributes_if_different(arguments, False, difference) else None

    shell.run(module, lambda: batching_files.run(module.params, module.check_mode, set_attributes))


if __name__ == "__main__":
    main()
