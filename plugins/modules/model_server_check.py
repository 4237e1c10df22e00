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
  - Sends samples to a running server, evaluates a task metric on its answers, and compares the answers with a reference, which is a file of outputs or another
    server.
  - Returns figures and makes no decision, so a playbook can decide. With O(conversion), the module decides, and fails if the served model is worse than
    allowed. It also fails if the server does not answer, or answers with an error.
options:
  python:
    description:
      - Python interpreter on the host that has NumPy and, for gRPC, grpcio and protobuf.
      - Without it, the module uses the Python interpreter that runs it.
    type: path
  target:
    description: Served model that gets the requests.
    type: dict
    required: true
    suboptions: &served
      name:
        description: Name of the server in messages.
        type: str
        default: server
      protocol:
        description: Protocol of the requests.
        type: str
        choices: [grpc, rest]
        default: grpc
      address:
        description: Address on which the server listens.
        type: str
        default: 127.0.0.1
      port:
        description: Port of that protocol, 1 to 65535.
        type: int
        required: true
      model:
        description: Name of the model.
        type: str
        required: true
      signature:
        description: Signature that gets the requests.
        type: str
        default: serving_default
      version:
        description: Version that gets the requests. Without it, the server chooses.
        type: int
  samples:
    description:
      - NumPy archive (C(.npz)) on the host with C(inputs.<name>) for each input, examples along the first axis, and C(labels) if O(metric) is set; or another
        file as in O(tfserving.fleet.model_conversion#module:samples).
    type: path
    required: true
  metric:
    description: Task metric that is evaluated on O(samples), as in O(tfserving.fleet.model_conversion#module:metric).
    type: str
    choices: [accuracy, auc, function, rmse, top_k]
  metric_output:
    description: Output that O(metric) evaluates, if the signature has several.
    type: str
  metric_function:
    description: Python file on the host with your own function, for O(metric=function), as in O(tfserving.fleet.model_conversion#module:metric_function).
    type: path
  conversion:
    description:
      - Directory of a version that M(tfserving.fleet.model_conversion) published. The module checks the served model by the rules in the version's manifest. It
        compares the metric with that of the source before the conversion, and fails if the served model is worse than allowed.
      - O(metric) and O(metric_output) are then those of the manifest.
    type: path
  batch:
    description: Number of rows in a request, 1 or more, if the signature takes any number.
    type: int
    default: 32
  limit:
    description: Maximum number of examples to send, 1 or more. Without it, all.
    type: int
  reference:
    description: NumPy archive (C(.npz)) on the host with C(outputs.<name>) for each output and the same examples as O(samples).
    type: path
  reference_target:
    description: Another served model to compare with. It has the same suboptions as O(target).
    type: dict
    suboptions: *served
  deadline_s:
    description: Longest time for one request, in seconds, more than 0.
    type: float
    default: 30
  timeout_s:
    description: Longest time for the whole check, in seconds, more than 0.
    type: float
    default: 600
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  check_mode:
    description: Sends requests to the server also in check mode, since they change nothing.
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

- name: Fail if the accuracy is too low
  ansible.builtin.assert:
    that: served.metric.value >= 0.97
"""

RETURN = r"""
examples:
  description: Number of examples that the server answered.
  returned: success
  type: int
  sample: 360
metric:
  description: Name (C(name)) and value (C(value)) of the metric. Null without O(metric).
  returned: success
  type: dict
  sample: {name: accuracy, value: 0.9917}
accepted:
  description: Whether the served model passes the checks of O(conversion). Null without it.
  returned: success
  type: bool
  sample: true
reason:
  description: Why the served model was accepted, as a sentence. Null without O(conversion).
  returned: success
  type: str
  sample: "accuracy 0.991667 before, 0.988889 after: a loss of 0.00277778 is within the allowed 0.01"
outputs:
  description:
    - For each output the largest absolute difference (C(max_abs)), the largest relative difference (C(max_rel), where the reference's value is not zero), and
      C(difference), the reason if the outputs cannot be compared. Null without a reference.
  returned: success
  type: dict
  sample: {output_0: {max_abs: 0.0159, max_rel: 0.2058, difference: null}}
"""

from ansible_collections.tfserving.fleet.plugins.module_utils._core import shell
from ansible_collections.tfserving.fleet.plugins.module_utils._model import server_check, task_metrics


def main():
    """Run the module."""
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
