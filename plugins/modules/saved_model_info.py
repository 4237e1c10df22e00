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
  - Reads the files of a SavedModel and returns its signatures, the operations behind each of them, its size, its assets, who wrote it, and what that
    means for serving.
  - Needs neither TensorFlow nor any other library on the host, and does not load the model; a model of some MB takes some hundredths of a second.
  - Fails with one line where the model is broken or files of it are missing.
options:
  path:
    description: Directory of one version of a SavedModel, the one that holds C(saved_model.pb).
    type: path
    required: true
attributes:
  action_group:
    description: Belongs to the action group C(tfserving.fleet.fleet).
    support: full
    membership:
      - tfserving.fleet.fleet
  check_mode:
    description: Only reads, with or without check mode.
    support: full
  diff_mode:
    description: Changes nothing, so there is nothing to show.
    support: none
  platform:
    description: Any Linux with Python 3.9 or later.
    platforms: linux
    support: full
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
    format:
      description: V(functions) as TensorFlow 2 writes it, V(graph) as TensorFlow 1 did.
      type: str
      sample: functions
    tensorflow_version:
      description: Release of the TensorFlow that wrote it, null where it does not say.
      type: str
      sample: 2.21.0
    tags:
      description: Tags of the graph that is served.
      type: list
      elements: str
      sample: [serve]
    signatures:
      description:
        - The signatures that clients can call. A dimension of unknown size is null, a shape of unknown rank is null, a scalar's shape is empty.
      type: dict
      sample:
        serving_default:
          method_name: tensorflow/serving/predict
          inputs: {image: {dtype: float32, shape: [null, 8, 8, 1], tensor: "serving_default_image:0"}}
          outputs: {output_0: {dtype: float32, shape: [null, 10], tensor: "StatefulPartitionedCall:0"}}
    ops:
      description: For each signature the names of the operations behind it.
      type: dict
      sample: {serving_default: [BiasAdd, Conv2D, MatMul, Softmax]}
    analysis:
      description: For each signature what it means for serving.
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
        tensorflow_lite:
          description:
            - Whether a conversion to TensorFlow Lite is likely to succeed (C(likely)), the operations that stand in the way (C(blocking_ops)), and why
              not as sentences (C(reasons)). Only a conversion proves it.
          type: dict
        warnings:
          description: What its clients could do to a server.
          type: list
          elements: str
      sample:
        serving_default:
          string_inputs: []
          parses_examples: false
          tables: []
          tensorflow_lite: {likely: true, blocking_ops: [], reasons: []}
          warnings: []
    assets:
      description: Names of its asset files, vocabularies for instance.
      type: list
      elements: str
      sample: []
    size_bytes:
      description: Size of all its files.
      type: int
      sample: 2464427
    variables_bytes:
      description: Size of the files of its variables.
      type: int
      sample: 2306396
    warmup:
      description: Whether it brings warm-up records.
      type: bool
      sample: false
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.common import shell
from ansible_collections.tfserving.fleet.plugins.module_utils.model import lite, saved_model


def describe(path):
    """The module's result for a directory."""
    described = saved_model.read(os.path.abspath(path))
    analysis = {name: lite.analyse(signature, described["ops"][name]) for name, signature in described["signatures"].items()}
    return {"changed": False, "saved_model": dict(described, analysis=analysis)}


def main():
    """Ansible's entry."""
    module = AnsibleModule({"path": {"type": "path", "required": True}}, supports_check_mode=True)
    shell.run(module, lambda: describe(module.params["path"]))


if __name__ == "__main__":
    main()
