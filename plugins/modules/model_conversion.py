#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_conversion
short_description: Convert a SavedModel to a variant, check it, and publish it as a version
version_added: "0.1.0"
description:
  - Makes one variant of a SavedModel and publishes it as a version that TensorFlow Serving loads. The version appears completely or not at all, with a
    C(manifest.json).
  - V(none) publishes the SavedModel as it is.
  - The variants V(tflite_...) convert one signature to TensorFlow Lite, for C(--prefer_tflite_model). The signature keeps its names, shapes and all outputs,
    because the module writes the metadata that TensorFlow Serving reads into the file.
  - V(tensorrt) lets TF-TRT replace what it can with TensorRT, and builds the engines on the GPU of the converter.
  - Some signatures are published only with V(none). They keep state between requests, draw random numbers, call Python, or have inputs with a default value.
    For such a signature no comparison can verify that another variant gives the same answers.
  - Before it publishes a variant, the module loads the result, runs the samples through it, compares the outputs with those of the source, and evaluates the
    task metric. With O(through_server) it also runs these checks on a server that loaded the result.
  - A converted version includes the compared answers, in C(assets.extra/tfserving_fleet_answers.npz). M(tfserving.fleet.model_server) checks a server in a
    container against them before that server takes traffic.
  - With O(batch_sizes), or if the source has one, the version gets a warm-up file. The module replays the requests before it publishes the version. If it
    publishes the source unchanged, it only checks them against the signatures.
  - A refused variant is a normal result, not a failure. The module then publishes nothing, and RV(reason) says why.
  - An unchanged source with unchanged options is not converted again. A refused variant is tried again with another release of TensorFlow.
notes:
  - Check mode predicts whether a version would be published. Only a conversion shows the results of the checks. A source that does not exist is a warning in
    check mode, since an earlier task may make it.
  - A killed run leaves nothing that a server can see. The next run that publishes to the same destination removes the leftovers.
options:
  python:
    description:
      - Python interpreter on the host that has TensorFlow. Every variant but V(none) needs it, and V(none) with O(batch_sizes).
      - Without it, the module uses the Python interpreter that runs it.
    type: path
  source:
    description: Directory of one version of a SavedModel.
    type: path
    required: true
  tags:
    description: Tags of the graph that is served, as in the server's flag C(saved_model_tags).
    type: list
    elements: str
    default: [serve]
  destination:
    description: Base path of the variant, C(<model directory>/<name>/<variant>). The module creates it.
    type: path
    required: true
  version:
    description:
      - Number of the version, 1 or more. A number whose version has other content is refused, because a server does not notice that a version was replaced.
      - Without it, the name of the folder of O(source) where that is a number, such as C(42) for C(/srv/sources/digits/42). For a folder with another name the
        next number, unless the newest version has the requested content.
      - Two versions are the same if their models are the same. The manifest, the warm-up requests, the answers to compare with and the batching parameters do
        not count. If only the warm-up requests or the check results changed, the module replaces them in the existing version. A server reads the warm-up
        requests when it loads the version.
      - Another release of TensorFlow does not make another version, nor do other samples, unless the variant is calibrated on them. Give a new number to
        convert again with another release.
    type: int
  folder_owner:
    description:
      - Account, by name or UID, such as the one that the server runs as. When the module runs as root, it also works in folders that this account owns, not
        only in those of root and of the account that became root. The module does not follow links that this account creates there.
    type: str
  rehash:
    description:
      - Read every file. By default the module remembers the digest of an unchanged file in the user's cache, by device, inode, size and times. It never
        remembers digests of files on network file systems.
    type: bool
    default: false
  form:
    description:
      - Variant to make of the source.
      - V(tflite_dynamic_range) has 8-bit weights and computes in float32 where it must. V(tflite_float16) has 16-bit weights. V(tflite_int8) has 8-bit weights
        and activations. V(tflite_int16x8) has 8-bit weights and 16-bit activations. The last two are calibrated on O(samples). Inputs and outputs keep their
        types.
    type: str
    choices: [none, tflite_dynamic_range, tflite_float16, tflite_int8, tflite_int16x8, tensorrt]
    default: none
  signature:
    description: Signature to convert to TensorFlow Lite. A TensorFlow Lite model has only one.
    type: str
    default: serving_default
  samples:
    description:
      - File with examples on the host, in one of these formats. A NumPy archive (C(.npz)) with C(inputs.<name>) for each input, examples along the first axis,
        and C(labels) if O(metric) is set. JSON lines, each with C(inputs), values by name, and C(label). A TFRecord file of tf.Example messages, with one
        feature for each input and labels in C(label), or with the messages as input where the signature parses examples itself. A warm-up file.
      - Without it, the module uses the source's warm-up file. If the source has none, the module compares outputs on generated inputs.
    type: path
  batch_sizes:
    description:
      - Batch sizes that the server will execute, each 1 or more. The module writes a warm-up request for each, made from the samples in turn, and builds the
        engines of V(tensorrt) for these sizes.
      - Without it, the version keeps the warm-up file of the source.
    type: list
    elements: int
    default: []
  select_tf_ops:
    description:
      - Let TensorFlow Lite call TensorFlow's operations for those that it lacks. TensorFlow Serving is linked with them.
      - The converter must run the file before it is published. The Python packages of TensorFlow 2.18 and older can. Those from 2.19 on lack the Flex delegate,
        so a conversion that needs it is refused there.
    type: bool
    default: false
  server_release:
    description:
      - Release of TensorFlow Serving that will load the model, such as V(2.20.0). With it, a TensorFlow Lite file that needs a newer runtime is refused.
      - V(tensorrt) requires it, since converter, server and TensorRT must match.
    type: str
  compute_capability:
    description: Compute capability of the GPU that will serve V(tensorrt), such as V(8.6).
    type: str
  precision:
    description: Precision of V(tensorrt). V(INT8) is calibrated on O(samples).
    type: str
    choices: [FP32, FP16, INT8]
    default: FP16
  workspace_mib:
    description: Memory that TensorRT may use to build an engine, in MiB, 1 or more.
    type: int
    default: 1024
  metric:
    description:
      - Task metric that is evaluated on O(samples).
      - V(accuracy) is the share of correct classes, V(top_k) the share of labels among the 5 highest scores, V(auc) the area under the ROC curve for labels 0
        and 1, V(rmse) the root mean squared error, V(function) the result of O(metric_function).
    type: str
    choices: [accuracy, auc, function, rmse, top_k]
  metric_function:
    description:
      - Python file on the host with a function C(metric(outputs, labels)) that returns a number. C(outputs) maps each output's name to a NumPy array, C(labels)
        is an array or None. It runs under O(python).
    type: path
  metric_goal:
    description: Whether a higher or a lower value of O(metric) is better. Without it, V(lower) for V(rmse) and V(higher) for all others.
    type: str
    choices: [higher, lower]
  metric_output:
    description: Output that O(metric) evaluates, if the signature has several.
    type: str
  allowed_loss:
    description:
      - How much worse O(metric) may become, in the metric's own unit, 0 or more. 0.01 is one percentage point of accuracy.
      - A source whose accuracy, top-k share or AUC is not above this value is refused, since it has nothing to lose.
    type: float
    default: 0.01
  maximum_difference:
    description: Largest absolute difference from the source that any output may have, 0 or more. Without it, differences are recorded and do not decide.
    type: float
  accept_unjudged:
    description:
      - Accept a variant that can lose accuracy although no metric on labeled samples was evaluated. The module still compares its outputs, and refuses a
        variant whose outputs cannot be compared.
    type: bool
    default: false
  through_server:
    description:
      - Also check the converted version through a server. The embedded server of this collection loads it before it is published and answers the same examples
        over gRPC, and its answers must pass the same checks. O(python) needs grpcio for that.
    type: bool
    default: false
  required:
    description:
      - Fail if the variant is refused. The message names the earlier version, which servers of this variant keep serving.
    type: bool
    default: false
  memory_mib:
    description:
      - Memory that the conversion may use, in MiB, 1 or more. The module predicts the need from the size of the model and refuses a conversion that does not
        fit.
      - Without it, the memory that is free on the host and in the control group.
    type: int
  timeout_s:
    description: Longest time that the conversion may take, in seconds, more than 0.
    type: float
    default: 1800
  container_image:
    description:
      - Image of a container that converts instead of O(python), such as V(tensorflow/tensorflow:2.21.0) or V(tensorflow/tensorflow:2.17.0-gpu). The container
        has no network and sees only the source, the samples and its working directories.
      - Cannot be combined with O(through_server), which runs on the host.
    type: str
  container_gpus:
    description:
      - GPUs of the container, in the syntax of the engine's C(--gpus), such as V(device=0). Without it, V(all) for V(tensorrt) and none for the other variants.
    type: str
  container_engine:
    description: Program of the container engine.
    type: path
    default: docker
  progress:
    description: File on the host to which the module appends a line when a stage of the conversion begins.
    type: path
  trusted:
    description:
      - Whether a model that can work with files, processes or the network, or that calls Python, may run on the host, as O(convert_user).
        RV(ignore:untrusted_ops) of M(tfserving.fleet.saved_model_info) lists such operations. Without it, such a model is only converted in a container
        (O(container_image)) or published as it is.
    type: bool
    default: false
  convert_user:
    description:
      - Account that runs TensorFlow if the module runs as root, by name, UID or V(UID:GID), on the host and in a container. It must be able to run O(python)
        and to read O(source), O(samples), O(metric_function) and the folders above O(destination). Published files still belong to root.
      - Without it, 65534 (C(nobody)). If that account cannot, the module tries the account that became root by C(sudo) or by login, and then the owner of
        O(source). If none of them can, TensorFlow runs as root, with a warning.
      - V(root) runs TensorFlow as root. If the module does not run as root, this option has no effect.
    type: str
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  check_mode:
    description: Predicts what it would publish. The results of the checks are not known before the conversion.
  diff_mode:
    description: Shows the manifest.
    support: full
  platform:
    description: Any Linux with Python 3.9 or later. Every variant but V(none) needs TensorFlow for O(python), or a container.
seealso:
  - module: tfserving.fleet.saved_model_info
  - module: tfserving.fleet.model_server_check
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Publish the model as it is
  tfserving.fleet.model_conversion:
    source: /srv/sources/digits
    destination: /srv/models/digits/saved_model

- name: Publish it as TensorFlow Lite if its accuracy holds
  tfserving.fleet.model_conversion:
    python: /opt/tensorflow/bin/python
    source: /srv/sources/digits
    destination: /srv/models/digits/tflite_dynamic_range
    form: tflite_dynamic_range
    samples: /srv/sources/digits.npz
    metric: accuracy
    allowed_loss: 0.005
    batch_sizes: [1, 8, 32]
    through_server: true
  register: lite

- name: Convert it with 8-bit activations, in a container
  tfserving.fleet.model_conversion:
    container_image: tensorflow/tensorflow:2.20.0
    source: /srv/sources/digits
    destination: /srv/models/digits/tflite_int8
    form: tflite_int8
    server_release: 2.20.0
    samples: /srv/sources/digits.npz
    metric: accuracy

- name: Publish it with TensorRT engines for an A10, checked by your own metric
  tfserving.fleet.model_conversion:
    python: /opt/tensorflow-2.17/bin/python
    source: /srv/sources/detector
    destination: /srv/models/detector/tensorrt
    form: tensorrt
    server_release: 2.17.1
    compute_capability: "8.6"
    batch_sizes: [1, 16]
    samples: /srv/sources/detector.tfrecord
    metric: function
    metric_function: /srv/sources/mean_average_precision.py

- name: Show why it was accepted or refused
  ansible.builtin.debug:
    msg: "{{ lite.reason }}"
"""

RETURN = r"""
accepted:
  description: Whether the variant passed all checks. Null in check mode if only a conversion can tell.
  returned: success
  type: bool
  sample: true
reason:
  description: Why the variant was accepted or refused, as a sentence.
  returned: success
  type: str
  sample: "accuracy 0.991667 before, 0.988889 after: a loss of 0.00277778 is within the allowed 0.01"
model:
  description: Name of the model, from the path in O(destination).
  returned: success
  type: str
  sample: digits
form:
  description: Published variant, V(saved_model) for O(form=none).
  returned: success
  type: str
  sample: tflite_dynamic_range
version:
  description: Number of the published version. Null if the variant was refused.
  returned: success
  type: int
  sample: 1
path:
  description: Directory of the published version. Null if the variant was refused.
  returned: success
  type: str
  sample: /srv/models/digits/tflite_dynamic_range/1
newer:
  description: Published versions with a higher number, ascending. A server without C(version_policy) serves the highest one of its variant.
  returned: success
  type: list
  elements: int
  sample: []
gates:
  description: Results of the checks. Null for V(none).
  returned: success
  type: dict
  contains:
    examples:
      description: How many examples were compared.
      type: int
    synthetic:
      description: Whether the inputs were generated.
      type: bool
    outputs:
      description:
        - For each output the largest absolute difference (C(max_abs)), the largest relative difference (C(max_rel), where the source's value is not zero), and
          C(difference), the reason if the outputs cannot be compared. Null if nothing was compared.
      type: dict
    metric:
      description:
        - Name of the metric (C(name)), its value C(before) and C(after), C(allowed_loss), and whether a higher or a lower value is better (C(goal)). Null if no
          metric was evaluated.
      type: dict
    served:
      description: With O(through_server), C(outputs) and C(metric) of the server's answers.
      type: dict
  sample:
    examples: 360
    synthetic: false
    outputs: {output_0: {max_abs: 0.0159, max_rel: 0.2058, difference: null}}
    metric: {name: accuracy, before: 0.9917, after: 0.9889, allowed_loss: 0.01, goal: higher}
lowest_runtime:
  description: Lowest release of TensorFlow Lite that runs the file. Null for other variants.
  returned: success
  type: str
  sample: 2.3.0
warmup_batch_sizes:
  description: Batch sizes of the requests in the warm-up file.
  returned: success
  type: list
  elements: int
  sample: [1, 8, 32]
dropped_signatures:
  description: Names of the source's signatures that the variant does not have.
  returned: success
  type: list
  elements: str
  sample: [serve]
actions:
  description: Actions that the module took, or would take in check mode.
  returned: success
  type: list
  elements: str
  sample: [publish /srv/models/digits/tflite_dynamic_range/1]
"""

from ansible_collections.tfserving.fleet.plugins.module_utils._core import shell
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded import temporary_server
from ansible_collections.tfserving.fleet.plugins.module_utils._model import conversion, task_metrics, tensorrt
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import variants


def main():
    """Run the module."""
    module = shell.FleetModule(
        {
            "python": {"type": "path"},
            "source": {"type": "path", "required": True},
            "destination": {"type": "path", "required": True},
            "tags": {"type": "list", "elements": "str", "default": ["serve"]},
            "version": {"type": "int"},
            "folder_owner": {"type": "str"},
            "rehash": {"type": "bool", "default": False},
            "form": {"type": "str", "choices": list(variants.VARIANTS), "default": variants.NONE},
            "signature": {"type": "str", "default": "serving_default"},
            "samples": {"type": "path"},
            "batch_sizes": {"type": "list", "elements": "int", "default": []},
            "select_tf_ops": {"type": "bool", "default": False},
            "server_release": {"type": "str"},
            "compute_capability": {"type": "str"},
            "precision": {"type": "str", "choices": list(tensorrt.PRECISIONS), "default": "FP16"},
            "workspace_mib": {"type": "int", "default": 1024},
            **task_metrics.DECIDING_OPTIONS,
            "maximum_difference": {"type": "float"},
            "accept_unjudged": {"type": "bool", "default": False},
            "through_server": {"type": "bool", "default": False},
            "required": {"type": "bool", "default": False},
            "memory_mib": {"type": "int"},
            "timeout_s": {"type": "float", "default": 1800},
            "container_image": {"type": "str"},
            "container_gpus": {"type": "str"},
            "container_engine": {"type": "path", "default": "docker"},
            "progress": {"type": "path"},
            "trusted": {"type": "bool", "default": False},
            "convert_user": {"type": "str"},
        },
        supports_check_mode=True,
    )
    shell.run(module, conversion.Conversion(module.params, module.check_mode, temporary_server.version).run)


if __name__ == "__main__":
    main()
