#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: saved_model_info
short_description: Say what a SavedModel is and what it can become
version_added: "0.1.0"
description:
  - Reads the files of a SavedModel and returns its signatures, the operations behind each of them, its size, its assets, its warm-up records, who wrote it,
    and what that means for serving.
  - Needs neither TensorFlow nor any other library on the host, and does not load the model unless O(load) asks for it; a model of some MB takes some
    hundredths of a second.
  - Fails with one line where the model is broken or files of it are missing.
options:
  path:
    description: Directory of one version of a SavedModel, the one that holds C(saved_model.pb).
    type: path
    required: true
  server_release:
    description: Release of the TensorFlow Serving that is to load it, such as V(2.20.0). With it, RV(saved_model.warnings) says where the model is newer.
    type: str
  tags:
    description: Tags of the graph that is served, as the server's flag C(saved_model_tags) names them.
    type: list
    elements: str
    default: [serve]
  load:
    description:
      - Load the model, ask each signature for an answer to made-up inputs, then send requests of a wrong rank and of no rows, as a careless client would, and
        say what became of the process. It runs beside the module in a process of its own, with oneDNN on.
    type: bool
    default: false
  trusted:
    description: Whether O(load) may load a model with RV(saved_model.untrusted_ops) on this host, as this module's user.
    type: bool
    default: false
  python:
    description: A Python interpreter of this host that has TensorFlow, for O(load). Without it, the Python that Ansible uses here.
    type: path
  timeout_s:
    description: The longest that O(load) may take, in seconds, more than 0.
    type: float
    default: 300
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  platform:
    description: Any Linux with Python 3.9 or later; O(load) needs TensorFlow for O(python).
seealso:
  - module: tfserving.fleet.model_conversion
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Look into a model
  tfserving.fleet.saved_model_info:
    path: /srv/models/digits/1
  register: digits

- name: Show what stands in the way of TensorFlow Lite
  ansible.builtin.debug:
    var: digits.saved_model.analysis.serving_default.tensorflow_lite.reasons

- name: Refuse a model that one careless request can kill
  tfserving.fleet.saved_model_info:
    path: /srv/models/digits/1
    load: true
    python: /opt/tensorflow/bin/python
  register: digits
  failed_when: digits.failed | default(false) or not digits.saved_model.loaded.survives
"""

RETURN = r"""
saved_model:
  description: What the model is.
  returned: success
  type: dict
  contains:
    path:
      description: The directory.
      type: str
      sample: /srv/models/digits/1
    exporter:
      description: V(keras3) for an export of Keras 3, V(tensorflow2) for what TensorFlow 2 saved, V(tensorflow1) for a graph of TensorFlow 1.
      type: str
      sample: keras3
    tensorflow_version:
      description: Release of the TensorFlow that wrote it, null where it does not say.
      type: str
      sample: 2.21.0
    graph_version:
      description: Version of the graph's format that the writer produced.
      type: int
      sample: 2397
    tags:
      description: Tags of the graph that is served.
      type: list
      elements: str
      sample: [serve]
    signatures:
      description:
        - The signatures that clients can call. A dimension of unknown size is null, a shape of unknown rank is null, a scalar's shape is empty.
        - Where they apply, a signature has C(unset_variables), the names of variables and tables that it reads and that loading does not restore, and
          C(needs_xla), true where XLA alone compiles a part of it. An input or output that is a ragged or sparse tensor has C(composite), its kind, and
          C(components), the names of its tensors. Every request to such a signature fails.
      type: dict
      sample:
        serving_default:
          method_name: tensorflow/serving/predict
          inputs: {image: {dtype: float32, shape: [null, 8, 8, 1], tensor: "serving_default_image:0"}}
          outputs: {output_0: {dtype: float32, shape: [null, 10], tensor: "StatefulPartitionedCall:0"}}
    structure:
      description: Digests that new weights do not change, C(signatures) of what clients see and C(graph) of what is computed.
      type: dict
      sample: {signatures: 0d4c3a5b9e1f2a77, graph: 91b2ce0a44f3d610}
    optional_inputs:
      description: For each signature that has defaults the names of the inputs that requests may leave out.
      type: dict
      sample: {}
    ops:
      description:
        - For each signature the names of the operations that a request runs. What stands behind its inputs does not run, nor does a branch that a constant
          switches off.
      type: dict
      sample: {serving_default: [BiasAdd, Conv2D, MatMul, Softmax]}
    uncertain_ops:
      description: For each signature that has such, the operations that run only where a variable or the request switches a branch on.
      type: dict
      sample: {}
    fed_ops:
      description: For each signature that has such, the operations on files or other processes that take something that clients send.
      type: dict
      sample: {}
    untrusted_ops:
      description:
        - Operations anywhere in the graph that work with files, processes or the network, or call Python, less those with which every SavedModel saves and
          restores itself. Whoever loads the model lets it run them.
      type: list
      elements: str
      sample: []
    foreign_ops:
      description: Operations of the graph that are none of TensorFlow's. A server has to know them, whichever signature is called.
      type: list
      elements: str
      sample: []
    analysis:
      description: For each signature what it means for serving.
      type: dict
      contains:
        serving_default:
          description: Of each signature, under its name.
          type: dict
          contains:
            string_inputs:
              description: Names of the inputs that take strings.
              type: list
              elements: str
            parses_examples:
              description: Whether it parses tf.Example records.
              type: bool
            tables:
              description: Operations on lookup tables.
              type: list
              elements: str
            custom_ops:
              description: Operations that are none of TensorFlow's own.
              type: list
              elements: str
            state_ops:
              description: Operations that keep something from one request for the next. No form but the SavedModel itself answers like it.
              type: list
              elements: str
            random_ops:
              description: Operations that draw random numbers anew for each request.
              type: list
              elements: str
            file_ops:
              description: Operations that read or write files of the server.
              type: list
              elements: str
            batching:
              description:
                - Whether a server may batch its requests (C(legal)) and why not (C(reasons)), what the signature leaves open (C(doubts)), the first
                  dimension of each input, V(any), a number, V(none) for a scalar or V(unknown) (C(first_dimensions)), and whether all inputs share one
                  that can be the batch's (C(shared)).
              type: dict
            tensorflow_lite:
              description:
                - Whether a conversion to TensorFlow Lite is likely to succeed (C(likely)), the operations that stand in the way (C(blocking_ops)), and why
                  not as sentences (C(reasons)). Only a conversion proves it.
              type: dict
            tensorrt:
              description:
                - Whether TF-TRT is likely to make it faster (C(likely)), the operations that stay with TensorFlow (C(ops_outside)), and why not (C(reasons)).
              type: dict
            careless_request:
              description: Whether one request of a wrong shape can end the server (C(can_kill)), and how to prevent it (C(reasons)).
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
          batching: {legal: true, first_dimensions: {image: any}, shared: true, reasons: [], doubts: []}
          tensorflow_lite: {likely: true, blocking_ops: [], reasons: []}
          tensorrt: {likely: true, ops_outside: [], reasons: []}
          careless_request: {can_kill: true, reasons: ["With oneDNN on, one request whose input has too few dimensions ends the whole server: ..."]}
    warnings:
      description: What to know about the whole model before it is served.
      type: list
      elements: str
      sample: []
    loaded:
      description:
        - What became of loading it, null without O(load). How long it took (C(load_s), seconds), how much memory it took beside TensorFlow's own
          (C(memory_mib)), the signatures that answered (C(answered)), and the careless requests (C(careless)), each with C(signature), C(request) and
          C(outcome), V(answered), V(refused) or V(killed). Requests behind one that killed the process were not sent.
        - C(survives) is true where none of them ended the process.
      type: dict
      sample:
        load_s: 0.2
        memory_mib: 12
        answered: [serving_default]
        survives: false
        careless: [{signature: serving_default, request: "0 rows", outcome: refused}, {signature: serving_default, request: "image of rank 3", outcome: killed}]
    assets:
      description: Names of its asset files, vocabularies for instance.
      type: list
      elements: str
      sample: []
    size_bytes:
      description: Size of all its files.
      type: int
      sample: 2464427
    asset_bytes:
      description: Size of its asset files.
      type: int
      sample: 0
    variables:
      description:
        - How many variables it has (C(count)), the size of their files (C(bytes)), how many numbers they hold (C(parameters), null where a shape is not known),
          and how many variables there are of each type (C(dtypes)).
      type: dict
      sample: {count: 10, bytes: 2306396, parameters: 575114, dtypes: {float32: 10}}
    warmup:
      description:
        - Its warm-up file, null without one. How many records it has (C(records)), of which kinds (C(kinds)), the batch sizes that they warm (C(batch_sizes)),
          and why a server would refuse the version or die of it (C(faults)).
      type: dict
      sample: {records: 3, kinds: {predict: 3}, batch_sizes: [1, 8, 32], faults: []}
"""

import os

from ansible_collections.tfserving.fleet.plugins.module_utils._core import shell
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import LONGEST_S, bounded
from ansible_collections.tfserving.fleet.plugins.module_utils._model import analysis, probe, saved_model, statefulness


def describe(options):
    """The module's result."""
    bounded("timeout_s", options["timeout_s"], 0.001, LONGEST_S, "s")
    described = saved_model.read(os.path.abspath(options["path"]), options["tags"])
    if options["load"] and not options["trusted"]:
        statefulness.refuse_untrusted(described["untrusted_ops"], described["path"], "or leave out load")
    loaded = probe.run(described, options) if options["load"] else None
    analyzed = analysis.of_model(described, options["server_release"])
    shown = {key: value for key, value in described.items() if key != "restored"}
    return {"changed": False, "saved_model": dict(shown, **analyzed, loaded=loaded)}


def main():
    """Ansible's entry."""
    module = shell.FleetModule(
        {
            "path": {"type": "path", "required": True},
            "server_release": {"type": "str"},
            "tags": {"type": "list", "elements": "str", "default": ["serve"]},
            "load": {"type": "bool", "default": False},
            "python": {"type": "path"},
            "timeout_s": {"type": "float", "default": 300},
            "trusted": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    shell.run(module, lambda: describe(module.params))


if __name__ == "__main__":
    main()
