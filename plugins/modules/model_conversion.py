#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_conversion
short_description: Publish a model in a form that serves, judged against its source
version_added: "0.1.0"
description:
  - Makes one form of a SavedModel and publishes it as a version that TensorFlow Serving loads, whole or not at all, with a C(manifest.json) beside it.
  - V(none) publishes the SavedModel as it is.
  - The forms V(tflite_...) convert one signature to TensorFlow Lite, for C(--prefer_tflite_model). The names, shapes and all outputs of the signature
    survive, as the metadata that TensorFlow Serving reads is written into the file.
  - V(tensorrt) gives what TF-TRT can take to TensorRT, with the engines built beforehand on the GPU of the converter.
  - A signature that keeps something from one request for the next, draws random numbers, calls Python or has inputs with a default is published as it is
    alone (V(none)), as no comparison proves that another form answers like it.
  - Before anything is published the result is loaded and asked for the samples, its outputs are compared with the source's, the task metric decides, and on
    request the same is asked of a server that loaded it.
  - What was compared travels with a converted version, in C(assets.extra/tfserving_fleet_answers.npz). M(tfserving.fleet.model_server) asks it of a server in
    a container before that takes traffic.
  - With O(batch_sizes), or where the source brings one, the version gets a warm-up file whose requests were replayed before.
  - A form that is refused is a normal result, not a failure. Nothing is published then, and RV(reason) says why.
  - Runs again only when the source, the options or the converter's release are others.
notes:
  - In check mode it says whether a version would be made; how the gates would judge it only a conversion shows. A source that does not exist is a warning
    there, as an earlier task may make it.
  - A run that was killed leaves nothing visible to a server. The next run that publishes something there removes what it left.
options:
  python:
    description:
      - A Python interpreter of this host that has TensorFlow, for every form but V(none), and for that with O(batch_sizes).
      - Without it, the Python that Ansible uses here.
    type: path
  source:
    description: Directory of one version of a SavedModel.
    type: path
    required: true
  tags:
    description: Tags of the source's graph that is served, as the server's flag C(saved_model_tags) names them.
    type: list
    elements: str
    default: [serve]
  destination:
    description: The form's base path, C(<model directory>/<name>/<form>). It is made where it does not exist.
    type: path
    required: true
  version:
    description:
      - Number of the version, 1 or more. A number that holds something else is refused, as a server does not notice that a version was replaced.
      - Without it, the number that names the folder of O(source), such as C(42) for C(/srv/sources/digits/42). A folder with another name gets the next number,
        unless the newest version is what is asked for.
      - The model decides whether a version is the same. Its manifest, warm-up requests, answers to compare with and batching parameters do not. Changed
        warm-up requests and another judgement replace those of the version; a server reads the requests when it loads it.
      - Another release of TensorFlow, or other samples of a form that is not calibrated on them, do not make it another version either. Give a new number to
        convert with another release.
    type: int
  folder_owner:
    description:
      - An account, by name or UID, in whose folders root works beside its own and those of the account that root was reached from, such as the account that
        the server runs as. Links that it puts there are not followed.
    type: str
  rehash:
    description:
      - Read every file. By default the digest of a file that did not change is remembered in the user's cache, by its device, inode, size and times. Nothing
        is remembered of files on network file systems.
    type: bool
    default: false
  form:
    description:
      - What to make of the source.
      - V(tflite_dynamic_range) has 8-bit weights and computes in float32 where it has to, V(tflite_float16) has 16-bit weights, V(tflite_int8) has 8-bit
        weights and activations, V(tflite_int16x8) 8-bit weights and 16-bit activations. The last two are calibrated on O(samples). Inputs and outputs keep
        their types.
    type: str
    choices: [none, tflite_dynamic_range, tflite_float16, tflite_int8, tflite_int16x8, tensorrt]
    default: none
  signature:
    description: The signature that becomes a TensorFlow Lite model; such a model has one only.
    type: str
    default: serving_default
  samples:
    description:
      - Examples on this host, in a NumPy archive (C(.npz)) with C(inputs.<name>) for each input, examples along the first axis, and C(labels) where O(metric)
        is set; in JSON lines, each with C(inputs), values by name, and C(label); in a TFRecord file of tf.Example messages whose features are named as the
        inputs, labels in C(label), or whole, where the signature parses examples itself; or in a warm-up file.
      - Without it, the source's warm-up file is used where it has one; without that, outputs are compared on made-up inputs.
    type: path
  batch_sizes:
    description:
      - The batch sizes that the server will execute, each 1 or more. A warm-up request is written for each, out of the samples in turn, and the engines of
        V(tensorrt) are built for them.
      - Without it, the source's own warm-up file is carried over, where it has one.
    type: list
    elements: int
    default: []
  select_tf_ops:
    description:
      - Let TensorFlow Lite call TensorFlow's operations where it has none of its own. TensorFlow Serving is linked with them.
      - The converter has to run the file before it is published. The Python packages of TensorFlow 2.18 and older can; those from 2.19 on lack the Flex
        delegate, and a converter that has such a one refuses.
    type: bool
    default: false
  server_release:
    description:
      - Release of the TensorFlow Serving that is to load it, such as V(2.20.0). With it a TensorFlow Lite file that needs a newer runtime is refused.
      - V(tensorrt) needs it, as converter, server and TensorRT have to match.
    type: str
  compute_capability:
    description: That of the GPU that is to serve V(tensorrt), such as V(8.6).
    type: str
  precision:
    description: The precision of V(tensorrt). V(INT8) is calibrated on O(samples).
    type: str
    choices: [FP32, FP16, INT8]
    default: FP16
  workspace_mib:
    description: Memory that TensorRT may use while it builds an engine, in MiB, 1 or more.
    type: int
    default: 1024
  metric:
    description:
      - How O(samples) are judged.
      - V(accuracy) is the share of right classes, V(top_k) the share of labels among the 5 highest scores, V(auc) the area under the ROC curve for labels 0
        and 1, V(rmse) the root of the mean squared difference, V(function) what O(metric_function) returns.
    type: str
    choices: [accuracy, auc, function, rmse, top_k]
  metric_function:
    description:
      - A Python file on this host with a function C(metric(outputs, labels)) that returns a number. C(outputs) maps each output's name to a NumPy array,
        C(labels) is an array or None. It runs under O(python).
    type: path
  metric_goal:
    description: Which value of O(metric) is better. Without it, V(lower) for V(rmse) and V(higher) for all others.
    type: str
    choices: [higher, lower]
  metric_output:
    description: The output that O(metric) judges, where the signature has several.
    type: str
  allowed_loss:
    description:
      - By how much O(metric) may become worse, in its own unit, 0 or more; 0.01 is one percentage point of accuracy.
      - A source whose accuracy, top-k share or AUC is no more than that is refused, as nothing could be lost then.
    type: float
    default: 0.01
  maximum_difference:
    description: The largest absolute difference from the source that any output may have, 0 or more. Without it, differences are recorded and do not decide.
    type: float
  accept_unjudged:
    description:
      - Accept a form that can lose accuracy although no metric on labelled samples judged it. Its outputs are compared all the same, and one that cannot be
        compared is refused.
    type: bool
    default: false
  through_server:
    description:
      - Have the embedded server of this collection load the version before it is published, ask it for the same examples over gRPC, and decide once more on
        its answers. O(python) needs grpcio for that.
    type: bool
    default: false
  required:
    description: Fail where the form is refused.
    type: bool
    default: false
  memory_mib:
    description:
      - The memory that the conversion may take, in MiB, 1 or more. What it will take is predicted from the size of the model, and one that does not fit is
        refused before it starts.
      - Without it, what the host and the control group have free.
    type: int
  timeout_s:
    description: The longest that the conversion may take, in seconds, more than 0.
    type: float
    default: 1800
  container_image:
    description:
      - Convert in a container of this image instead of with O(python), for instance V(tensorflow/tensorflow:2.21.0) or V(tensorflow/tensorflow:2.17.0-gpu).
        The container has no network and sees the source, the samples and its working directories alone.
      - Not for O(through_server), which runs on the host.
    type: str
  container_gpus:
    description: What the engine's C(--gpus) takes, such as V(device=0). Without it, V(all) for V(tensorrt) and none for the other forms.
    type: str
  container_engine:
    description: The engine's program.
    type: path
    default: docker
  progress:
    description: A file on this host to which a line is appended when a stage of the conversion begins.
    type: path
  trusted:
    description:
      - Whether a model with operations that work with files, processes or the network, or that call Python (RV(ignore:untrusted_ops) of
        M(tfserving.fleet.saved_model_info)), may run on this host, as this module's user. Without it such a model is converted in a container alone
        (O(container_image)), and copied.
    type: bool
    default: false
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  check_mode:
    description: Says what it would publish; the gates are not known before the conversion.
  diff_mode:
    description: Shows the manifest.
    support: full
  platform:
    description: Any Linux with Python 3.9 or later; every form but V(none) needs TensorFlow for O(python), or a container.
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

- name: Publish it as TensorFlow Lite where its accuracy holds
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

- name: The same with 8-bit activations, in a container
  tfserving.fleet.model_conversion:
    container_image: tensorflow/tensorflow:2.20.0
    source: /srv/sources/digits
    destination: /srv/models/digits/tflite_int8
    form: tflite_int8
    server_release: 2.20.0
    samples: /srv/sources/digits.npz
    metric: accuracy

- name: Publish it with TensorRT engines for an A10, judged by a function of one's own
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

- name: Say how it was judged
  ansible.builtin.debug:
    msg: "{{ lite.reason }}"
"""

RETURN = r"""
accepted:
  description: Whether the form may serve. In check mode null where only a conversion tells.
  returned: success
  type: bool
  sample: true
reason:
  description: Why it was accepted or refused, as a sentence.
  returned: success
  type: str
  sample: "accuracy 0.991667 before, 0.988889 after: a loss of 0.00277778 is within the allowed 0.01"
model:
  description: The model's name, the directory of O(destination).
  returned: success
  type: str
  sample: digits
form:
  description: The published form, V(saved_model) for O(form=none).
  returned: success
  type: str
  sample: tflite_dynamic_range
version:
  description: Number of the published version, null where it was refused.
  returned: success
  type: int
  sample: 1
path:
  description: Directory of the published version, null where it was refused.
  returned: success
  type: str
  sample: /srv/models/digits/tflite_dynamic_range/1
gates:
  description: What was measured, null for the form V(none).
  returned: success
  type: dict
  contains:
    examples:
      description: How many examples both models were asked for.
      type: int
    synthetic:
      description: Whether the inputs were made up.
      type: bool
    outputs:
      description:
        - For each output the largest absolute difference (C(max_abs)) and relative difference (C(max_rel), where the source's value is not zero), and
          C(difference), the reason where the two cannot be compared. Null where nothing was compared.
      type: dict
    metric:
      description: The metric's C(name), its value C(before) and C(after), C(allowed_loss) and which value is better (C(goal)). Null where nothing was judged.
      type: dict
    served:
      description: With O(through_server), C(outputs) and C(metric) as the server answered.
      type: dict
  sample:
    examples: 360
    synthetic: false
    outputs: {output_0: {max_abs: 0.0159, max_rel: 0.2058, difference: null}}
    metric: {name: accuracy, before: 0.9917, after: 0.9889, allowed_loss: 0.01, goal: higher}
lowest_runtime:
  description: The lowest release of TensorFlow Lite that runs the file, null for other forms.
  returned: success
  type: str
  sample: 2.3.0
warmup_batch_sizes:
  description: The batch sizes that its warm-up file warms.
  returned: success
  type: list
  elements: int
  sample: [1, 8, 32]
dropped_signatures:
  description: Names of the source's signatures that the form does not have.
  returned: success
  type: list
  elements: str
  sample: [serve]
actions:
  description: What was done, or would be.
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
    """Ansible's entry."""
    module = shell.FleetModule(
        {
            "python": {"type": "path"},
            "source": {"type": "path", "required": True},
            "destination": {"type": "path", "required": True},
            "tags": {"type": "list", "elements": "str", "default": ["serve"]},
            "version": {"type": "int"},
            "folder_owner": {"type": "str"},
            "rehash": {"type": "bool", "default": False},
            "form": {"type": "str", "choices": list(variants.FORMS), "default": variants.NONE},
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
        },
        supports_check_mode=True,
    )
    shell.run(module, conversion.Conversion(module.params, module.check_mode, temporary_server.version).run)


if __name__ == "__main__":
    main()
