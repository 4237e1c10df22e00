#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_server_check
short_description: Check the answers of a served model
version_added: "0.1.0"
description:
  - Asks a running server for the answers to samples, measures a task metric on them, and compares them with a reference, either a file of outputs or
    another server.
  - Returns figures and judges nothing, so that a playbook can decide. Fails where the server does not answer, or answers with an error.
options:
  python:
    description:
      - A Python interpreter of this host that has NumPy and, for gRPC, grpcio and protobuf.
      - Without it, the Python that Ansible uses here.
    type: path
  target:
    description: The served model to ask.
    type: dict
    required: true
    suboptions: &served
      name:
        description: A name for messages.
        type: str
        default: server
      protocol:
        description: How to ask it.
        type: str
        choices: [grpc, rest]
        default: grpc
      address:
        description: Where it listens.
        type: str
        default: 127.0.0.1
      port:
        description: The port of the protocol, 1 to 65535.
        type: int
        required: true
      model:
        description: The model's name.
        type: str
        required: true
      signature:
        description: The signature to call.
        type: str
        default: serving_default
      version:
        description: The version to ask. Without it, the server chooses.
        type: int
  samples:
    description:
      - A NumPy archive (C(.npz)) on this host with C(inputs.<name>) for each input, examples along the first axis, and C(labels) where O(metric) is set, or
        another of the files that O(tfserving.fleet.model_conversion#module:samples) takes.
    type: path
    required: true
  metric:
    description: What to measure on O(samples), as in M(tfserving.fleet.model_conversion).
    type: str
    choices: [accuracy, auc, function, rmse, top_k]
  metric_output:
    description: The output that O(metric) judges, where the signature has several.
    type: str
  metric_function:
    description: A Python file on this host with the function of O(metric=function).
    type: path
  conversion:
    description:
      - Directory of a version that M(tfserving.fleet.model_conversion) published. What is served is judged by the rules in its manifest, its metric against the
        source's before the conversion, and the module fails where it is worse than they allow.
      - O(metric) and O(metric_output) are those of the manifest then.
    type: path
  batch:
    description: Rows of a request, 1 or more, where the signature takes any number.
    type: int
    default: 32
  limit:
    description: The most examples to ask for, 1 or more. Without it, all.
    type: int
  reference:
    description: A NumPy archive on this host with C(outputs.<name>) for each output and the same examples as O(samples).
    type: path
  reference_target:
    description: Another served model to compare with; suboptions as in O(target).
    type: dict
    suboptions: *served
  deadline_s:
    description: The longest that one request may take, in seconds, more than 0.
    type: float
    default: 30
  timeout_s:
    description: The longest that the whole check may take, in seconds, more than 0.
    type: float
    default: 600
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  check_mode:
    description: Asks the server in check mode too; it changes nothing.
seealso:
  - module: tfserving.fleet.model_conversion
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Measure the accuracy through the server
  tfserving.fleet.model_server_check:
    python: /opt/tensorflow/bin/python
    target:
      port: 8500
      model: digits
    samples: /srv/sources/digits.npz
    metric: accuracy
  register: served

- name: Refuse to go on with a model that answers badly
  ansible.builtin.assert:
    that: served.metric.value >= 0.97
"""

RETURN = r"""
examples:
  description: How many examples the server was asked for.
  returned: success
  type: int
  sample: 360
metric:
  description: The metric's C(name) and C(value), null where none was asked for.
  returned: success
  type: dict
  sample: {name: accuracy, value: 0.9917}
accepted:
  description: Whether what is served passes the gates of O(conversion). Null without that.
  returned: success
  type: bool
  sample: true
reason:
  description: Why, as a sentence. Null without O(conversion).
  returned: success
  type: str
  sample: "accuracy 0.991667 before, 0.988889 after: a loss of 0.00277778 is within the allowed 0.01"
outputs:
  description:
    - For each output the largest absolute difference (C(max_abs)) and relative difference (C(max_rel), where the reference's value is not zero), and
      C(difference), the reason where the two cannot be compared. Null without a reference.
  returned: success
  type: dict
  sample: {output_0: {max_abs: 0.0159, max_rel: 0.2058, difference: null}}
"""

from ansible_collections.tfserving.fleet.plugins.module_utils._core import shell
from ansible_collections.tfserving.fleet.plugins.module_utils._model import server_check, task_metrics


def main():
    """Ansible's entry."""
    target = {
        "name": {"type": "str", "default": "server"},
        "protocol": {"type": "str", "choices": ["grpc", "rest"], "default": "grpc"},
        "address": {"type": "str", "default": "127.0.0.1"},
        "port": {"type": "int", "required": True},
        "model": {"type": "str", "required": True},
        "signature": {"type": "str", "default": "serving_default"},
        "version": {"type": "int"},
    }
    module = shell.FleetModule(
        {
            "python": {"type": "path"},
            "target": {"type": "dict", "required": True, "options": target},
            "samples": {"type": "path", "required": True},
            **task_metrics.OPTIONS,
            "conversion": {"type": "path"},
            "batch": {"type": "int", "default": 32},
            "limit": {"type": "int"},
            "reference": {"type": "path"},
            "reference_target": {"type": "dict", "options": target},
            "deadline_s": {"type": "float", "default": 30},
            "timeout_s": {"type": "float", "default": 600},
        },
        mutually_exclusive=[("reference", "reference_target")],
        supports_check_mode=True,
    )
    shell.run(module, lambda: server_check.run(module.params))


if __name__ == "__main__":
    main()
