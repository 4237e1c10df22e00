#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: saved_model_info
short_description: Describe a SavedModel and what it can be converted to
version_added: "0.1.0"
description:
  - Reads the files of a SavedModel. Returns its signatures, the operations of each signature, its size, its assets, its warm-up requests, the program that
    exported it, and what that means for serving.
  - Needs neither TensorFlow nor any other library on the host, and loads the model only with O(load). A model of some MB takes some hundredths of a second.
  - Fails if the model is damaged or files are missing.
options:
  path:
    description: Directory of one version of a SavedModel, the one that holds C(saved_model.pb).
    type: path
    required: true
  server_release:
    description:
      - Release of TensorFlow Serving that will load the model, such as V(2.20.0). With it, RV(saved_model.warnings) says whether the model is newer than the
        server.
    type: str
  tags:
    description: Tags of the graph that is served, as in the server's flag C(saved_model_tags).
    type: list
    elements: str
    default: [serve]
  load:
    description:
      - Load the model and send test requests to it. Each signature gets a request with generated inputs, then malformed requests with a wrong rank and with no
        rows. RV(saved_model.loaded) says whether the process survived. The model runs in a separate process, with oneDNN on.
    type: bool
    default: false
  trusted:
    description: Whether O(load) may load a model with RV(saved_model.untrusted_ops) on the host, as O(convert_user).
    type: bool
    default: false
  convert_user:
    description:
      - Account that loads the model if the module runs as root, by name, UID or V(UID:GID). It must be able to run O(python) and to read the model.
      - Without it, 65534 (C(nobody)). If that account cannot, the module tries the account that became root by C(sudo) or by login, and then the owner of
        O(path). If none of them can, root loads the model, with a warning.
      - V(root) loads the model as root. If the module does not run as root, this option has no effect.
    type: str
  python:
    description: Python interpreter on the host that has TensorFlow, for O(load). Without it, the module uses the Python interpreter that runs it.
    type: path
  timeout_s:
    description: Longest time that O(load) may take, in seconds, more than 0.
    type: float
    default: 300
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  platform:
    description: Any Linux with Python 3.9 or later. O(load) needs TensorFlow for O(python).
seealso:
  - module: tfserving.fleet.model_conversion
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Describe a model
  tfserving.fleet.saved_model_info:
    path: /srv/models/digits/1
  register: digits

- name: Show what prevents a conversion to TensorFlow Lite
  ansible.builtin.debug:
    var: digits.saved_model.analysis.serving_default.tensorflow_lite.reasons

- name: Fail if one malformed request can end the server
  tfserving.fleet.saved_model_info:
    path: /srv/models/digits/1
    load: true
    python: /opt/tensorflow/bin/python
  register: digits
  failed_when: digits.failed | default(false) or not digits.saved_model.loaded.survives
"""

RETURN = r"""
saved_model:
  description: Description of the model.
  returned: success
  type: dict
  contains:
    path:
      description: Directory of the model.
      type: str
      sample: /srv/models/digits/1
    exporter:
      description: V(keras3) for an export of Keras 3, V(tensorflow2) for other models that TensorFlow 2 saved, V(tensorflow1) for a graph of TensorFlow 1.
      type: str
      sample: keras3
    tensorflow_version:
      description: Release of the TensorFlow that wrote the model. Null if the model does not record it.
      type: str
      sample: 2.21.0
    graph_version:
      description: Version of the graph format, as the writer recorded it.
      type: int
      sample: 2474
    tags:
      description: Tags of the graph that is served.
      type: list
      elements: str
      sample: [serve]
    signatures:
      description:
        - Signatures that clients can call. A dimension of unknown size is null, a shape of unknown rank is null, a scalar's shape is empty.
        - An input with C(values_below) selects rows of tables of the model, such as the vectors of words. The smallest of these tables has so many rows.
        - A signature can have more keys. C(unset_variables) lists the variables and tables that it reads and that loading does not restore. C(needs_xla) is
          true if only XLA can compile a part of it. An input or output that is a ragged or sparse tensor has C(composite), its kind, and C(components), the
          names of its tensors. Every request to such a signature fails.
      type: dict
      sample:
        serving_default:
          method_name: tensorflow/serving/predict
          inputs: {image: {dtype: float32, shape: [null, 8, 8, 1], tensor: "serving_default_image:0"}}
          outputs: {output_0: {dtype: float32, shape: [null, 10], tensor: "StatefulPartitionedCall_1:0"}}
    structure:
      description: Digests that do not change with the weights, C(signatures) of the interface and C(graph) of the computation.
      type: dict
      sample: {signatures: 8699e16e05f0d7a7, graph: c0e2543bcbbd9fcf}
    optional_inputs:
      description: Names of the inputs that requests may omit, by signature. Only signatures with such inputs are listed.
      type: dict
      sample: {}
    ops:
      description:
        - Names of the operations that a request runs, by signature. Operations upstream of the signature's inputs do not run, nor do branches that a constant
          switches off.
      type: dict
      sample:
        serving_default: [AddV2, BiasAdd, Const, Conv2D, Identity, MatMul, MaxPool, Mean, NoOp, Pad, ReadVariableOp, RealDiv, Relu, Reshape, ResizeBilinear,
                           Softmax, Squeeze, StatefulPartitionedCall, StridedSlice, VarHandleOp]
    uncertain_ops:
      description: Operations that run only if a variable or the request switches a branch on, by signature. Only signatures with such operations are listed.
      type: dict
      sample: {}
    fed_ops:
      description: Operations on files or other processes that process a part of the request, by signature. Only signatures with such operations are listed.
      type: dict
      sample: {}
    untrusted_ops:
      description:
        - Operations anywhere in the graph that work with files, processes or the network, or that call Python, except those with which every SavedModel saves
          and restores itself. A process that loads the model may run them.
      type: list
      elements: str
      sample: []
    foreign_ops:
      description: Operations of the graph that are not TensorFlow's. The server must have them, whichever signature clients call.
      type: list
      elements: str
      sample: []
    analysis:
      description: What each signature means for serving, by signature.
      type: dict
      contains:
        serving_default:
          description: Analysis of one signature. The key is the signature's name.
          type: dict
          contains:
            string_inputs:
              description: Names of the inputs that take strings.
              type: list
              elements: str
            parses_examples:
              description: Whether the signature parses tf.Example messages.
              type: bool
            tables:
              description: Operations on lookup tables.
              type: list
              elements: str
            custom_ops:
              description: Operations that are not TensorFlow's.
              type: list
              elements: str
            state_ops:
              description: Operations that keep state between requests. Only the SavedModel itself gives the same answers, no other variant.
              type: list
              elements: str
            random_ops:
              description: Operations that draw new random numbers for each request.
              type: list
              elements: str
            file_ops:
              description: Operations that read or write files of the server.
              type: list
              elements: str
            batching:
              description:
                - Whether a server may batch the requests (C(legal)), why not (C(reasons)), and what the signature leaves open (C(warnings)).
                  C(first_dimensions) is the first dimension of each input, V(any), a number, V(none) for a scalar, or V(unknown). C(shared) is true if
                  all inputs share a first dimension that can be the batch dimension.
              type: dict
            tensorflow_lite:
              description:
                - Whether a conversion to TensorFlow Lite is likely to succeed (C(likely)), the operations that prevent it (C(blocking_ops)), and why not, as
                  sentences (C(reasons)). Only a conversion can verify it.
              type: dict
            tensorrt:
              description:
                - Whether TF-TRT is likely to make the signature faster (C(likely)), the operations that stay in TensorFlow (C(ops_outside)), and why not
                  (C(reasons)).
              type: dict
            malformed_request:
              description: Whether one malformed request can end the server (C(can_kill)), and how to prevent it (C(reasons)).
              type: dict
      sample:
        serving_default:
          string_inputs: []
          parses_examples: false
          tables: []
          custom_ops: []
          state_ops: []
          random_ops: []
          file_ops: []
          batching: {legal: true, first_dimensions: {image: any}, shared: true, reasons: [], warnings: []}
          tensorflow_lite: {likely: true, blocking_ops: [], reasons: []}
          tensorrt: {likely: true, ops_outside: [], reasons: []}
          malformed_request:
            can_kill: true
            reasons:
              - "With oneDNN enabled, one request whose input has too few dimensions crashes the whole server: check ranks before requests
                reach it, or set TF_ENABLE_ONEDNN_OPTS=0 (trap 41)."
              - "As TensorFlow Lite, one request with 0 rows can crash the whole server: check the number of rows before requests reach it
                (trap 42)."
    warnings:
      description: What to consider about the whole model before you serve it.
      type: list
      elements: str
      sample: []
    loaded:
      description:
        - Result of O(load), null without it. C(load_s) is the time to load in seconds, C(memory_mib) the memory in addition to that of TensorFlow, C(answered)
          the signatures that answered. C(malformed_requests) lists the malformed requests with C(signature), C(request) and C(outcome), V(answered),
          V(refused) or V(killed). The module sends no further requests after one that killed the process.
        - C(survives) is true if no request ended the process.
      type: dict
      sample:
        load_s: 0.146
        memory_mib: 20
        answered: [serving_default]
        survives: true
        malformed_requests:
          - {signature: serving_default, request: 0 rows, outcome: refused}
          - {signature: serving_default, request: image of rank 1, outcome: refused}
          - {signature: serving_default, request: image of rank 2, outcome: refused}
          - {signature: serving_default, request: image of rank 3, outcome: refused}
    assets:
      description: Names of the asset files, such as vocabularies.
      type: list
      elements: str
      sample: []
    size_bytes:
      description: Size of all files of the model.
      type: int
      sample: 2475177
    asset_bytes:
      description: Size of the asset files.
      type: int
      sample: 0
    variables:
      description:
        - Number of variables (C(count)), size of their files (C(bytes)), number of values that they hold (C(parameters), null if a shape is unknown), and
          number of variables of each type (C(dtypes)).
      type: dict
      sample: {count: 42, bytes: 2306393, parameters: 863166, dtypes: {float32: 42}}
    warmup:
      description:
        - Warm-up file of the model, null without one. C(records) is the number of requests, C(kinds) the number of each kind, C(batch_sizes) the batch sizes
          that they warm up, C(faults) why a server would refuse the version or crash.
      type: dict
      sample: {records: 3, kinds: {predict: 3}, batch_sizes: [1, 8, 32], faults: []}
"""

import os
import sys

from ansible_collections.tfserving.fleet.plugins.module_utils._core import account, shell
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import LONGEST_S, bounded
from ansible_collections.tfserving.fleet.plugins.module_utils._model import analysis, probe, saved_model, statefulness


def describe(options):
    """Return the module's result."""
    bounded("timeout_s", options["timeout_s"], 0.001, LONGEST_S, "s")
    described = saved_model.read(os.path.abspath(options["path"]), options["tags"])
    if options["load"] and not options["trusted"]:
        statefulness.refuse_untrusted(described["untrusted_ops"], described["path"], "or leave out load")
    loaded, warnings = None, ()
    if options["load"]:
        needed = account.needed(options["python"] or sys.executable, [], [described["path"]])
        user, warnings = account.for_model(options["convert_user"], needed, described["path"])
        loaded = probe.run(described, options, user)
    analyzed = analysis.of_model(described, options["server_release"])
    shown = {key: value for key, value in described.items() if key != "restored"}
    return {"changed": False, "saved_model": dict(shown, **analyzed, loaded=loaded), "warnings": warnings}


def main():
    """Run the module."""
    module = shell.FleetModule(
        {
            "path": {"type": "path", "required": True},
            "server_release": {"type": "str"},
            "tags": {"type": "list", "elements": "str", "default": ["serve"]},
            "load": {"type": "bool", "default": False},
            "python": {"type": "path"},
            "timeout_s": {"type": "float", "default": 300},
            "trusted": {"type": "bool", "default": False},
            "convert_user": {"type": "str"},
        },
        supports_check_mode=True,
    )
    shell.run(module, lambda: describe(module.params))


if __name__ == "__main__":
    main()
