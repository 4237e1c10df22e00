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
  - V(tflite_dynamic_range) converts one signature to TensorFlow Lite with 8-bit weights, for C(--prefer_tflite_model). The names, shapes and all outputs of the
    signature survive, as the metadata that TensorFlow Serving reads is written into the file. Before anything is published the file is loaded and asked for the
    samples, its outputs are compared with the source's, and the task metric decides.
  - A form that is refused is a normal result, not a failure. Nothing is published then, and RV(reason) says why.
  - Runs again only when the source, the options or the converter's release are others.
notes:
  - In check mode it says whether a version would be made; how the gates would judge it only a conversion shows. A source that does not exist is a warning
    there, as an earlier task may make it.
  - A run that was killed leaves nothing visible to a server. The next run that publishes something there removes what it left.
options:
  python:
    description:
      - A Python interpreter of this host that has TensorFlow, for the form V(tflite_dynamic_range).
      - Without it, the Python that Ansible uses here.
    type: path
  source:
    description: Directory of one version of a SavedModel.
    type: path
    required: true
  destination:
    description: The form's base path, C(<model directory>/<name>/<form>). It is made where it does not exist.
    type: path
    required: true
  version:
    description:
      - Number of the version, 1 or more. A number that holds something else is refused, as a server does not notice that a version was replaced.
      - Without it, the newest version stays where it is what is asked for, and the next number is taken where it is not.
    type: int
  form:
    description: What to make of the source.
    type: str
    choices: [none, tflite_dynamic_range]
    default: none
  signature:
    description: The signature that becomes a TensorFlow Lite model; such a model has one only.
    type: str
    default: serving_default
  samples:
    description:
      - A NumPy archive (C(.npz)) on this host with C(inputs.<name>) for each input, examples along the first axis, and C(labels) where O(metric) is set.
      - Without it, outputs are compared on made-up inputs.
    type: path
  metric:
    description:
      - How O(samples) are judged.
      - V(accuracy) is the share of right classes, V(top_k) the share of labels among the 5 highest scores, V(auc) the area under the ROC curve for labels 0
        and 1, V(rmse) the root of the mean squared difference.
    type: str
    choices: [accuracy, auc, rmse, top_k]
  metric_output:
    description: The output that O(metric) judges, where the signature has several.
    type: str
  allowed_loss:
    description: By how much O(metric) may become worse, in its own unit, 0 or more; 0.01 is one percentage point of accuracy.
    type: float
    default: 0.01
  maximum_difference:
    description: The largest absolute difference from the source that any output may have, 0 or more. Without it, differences are recorded and do not decide.
    type: float
  accept_unjudged:
    description: Accept a form that can lose accuracy although no metric on labelled samples judged it.
    type: bool
    default: false
  required:
    description: Fail where the form is refused.
    type: bool
    default: false
  timeout_s:
    description: The longest that the conversion may take, in seconds, more than 0.
    type: float
    default: 1800
  progress:
    description: A file on this host to which a line is appended when a stage of the conversion begins.
    type: path
attributes:
  action_group:
    description: Belongs to the action group C(tfserving.fleet.fleet).
    support: full
    membership:
      - tfserving.fleet.fleet
  check_mode:
    description: Says what it would publish; the gates are not known before the conversion.
    support: full
  diff_mode:
    description: Shows the manifest.
    support: full
  platform:
    description: Any Linux with Python 3.9 or later; the form V(tflite_dynamic_range) needs TensorFlow for O(python).
    platforms: linux
    support: full
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
  register: lite

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
      description: The metric's C(name), its value C(before) and C(after), and C(allowed_loss). Null where nothing was judged.
      type: dict
  sample:
    examples: 360
    synthetic: false
    outputs: {output_0: {max_abs: 0.0159, max_rel: 0.2058, difference: null}}
    metric: {name: accuracy, before: 0.9917, after: 0.9889, allowed_loss: 0.01}
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

import os
import sys

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tfserving.fleet.plugins.module_utils.common import program, shell
from ansible_collections.tfserving.fleet.plugins.module_utils.common.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils.common.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils.common.options import bounded
from ansible_collections.tfserving.fleet.plugins.module_utils.model import convert, gates, lite, manifest, published, saved_model
from ansible_collections.tfserving.fleet.plugins.module_utils.model.signature import chosen

PROGRAM = convert.__name__.partition("module_utils.")[2]
JUDGING = ("metric", "metric_output", "allowed_loss", "maximum_difference", "accept_unjudged")
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}


class Conversion:
    """One form of one model: read, decide, make."""

    def __init__(self, options, check_mode):
        self.options, self.check_mode = options, check_mode
        self.source, self.destination = os.path.abspath(options["source"]), os.path.abspath(options["destination"])
        self.python = options["python"] or sys.executable
        self.lossy = options["form"] != "none"
        self.model = self.contract = None

    def run(self):
        """The module's result."""
        self._check_options()
        if self.check_mode and not os.path.exists(self.source):
            return self._not_yet()
        self.model = saved_model.read(self.source)
        self.contract = chosen(self.model["signatures"], self.options["signature"]) if self.lossy else None
        refused = self._refusal()
        if refused:
            return self._refused(refused, None)
        source = {"path": self.source, "digest": saved_model.digest(self.source), "tensorflow_version": self.model["tensorflow_version"]}
        converter = self._call({"action": "release"}) if self.lossy else None
        key = manifest.key(source["digest"], self._deciding(), converter)
        versions = published.versions(self.destination, key)
        version, found = manifest.place(versions, key, self.options["version"])
        if found:
            return self._result(Decision(False), version, True, self._reason(found["gates"]), found["gates"])
        newest = versions.get(max(versions, default=0))
        if self.check_mode:
            content = manifest.build(source, self._deciding(), converter, None, {})
            accepted = None if self.lossy else True
            return self._result(
                self._decision(newest, content, version),
                version,
                accepted,
                "not known before the conversion" if self.lossy else self._reason(None),
                None,
            )
        return self._make(source, converter, version, newest)

    def _not_yet(self):
        """What check mode says where an earlier task would have made the source."""
        decision = Decision(
            True,
            actions=(f"publish below {self.destination}",),
            warnings=(f"{self.source} does not exist; a real run fails unless it does by then.",),
        )
        return self._result(decision, None, None, "the source does not exist yet", None)

    def _check_options(self):
        options = self.options
        bounded("version", 1 if options["version"] is None else options["version"], 1, 2**63 - 1)
        bounded("allowed_loss", options["allowed_loss"], 0)
        bounded("maximum_difference", options["maximum_difference"] or 0, 0)
        bounded("timeout_s", options["timeout_s"], 0.001, unit="s")
        inside = os.path.commonpath([self.source, self.destination])
        if inside == self.source:
            raise FleetError(f"{self.destination!r} is the source or lies inside it", where="destination", remedy="Name a directory outside of the source.")

    def _refusal(self):
        """Why the form is refused before anything starts, or None."""
        if not self.lossy:
            return None
        return lite.refusal(self.contract) or gates.needs_judgement(self.options["samples"], self.options["metric"], self.options["accept_unjudged"])

    def _deciding(self):
        """The options that decide the content and its judgement."""
        if not self.lossy:
            return {"form": "none"}
        samples = self.options["samples"] and saved_model.file_digest(self.options["samples"])
        return dict({name: self.options[name] for name in ("form", "signature") + JUDGING}, samples=samples)

    def _make(self, source, converter, version, newest):
        staged = published.stage(self.destination)
        try:
            judged = self._convert(staged) if self.lossy else self._copy(staged, source["digest"])
            if not judged["accepted"]:
                return self._refused(judged["reason"], judged["gates"])
            content = manifest.build(source, self._deciding(), converter, judged["gates"], published.inventory(staged))
            published.finish(staged, self.destination, version, content)
        finally:
            published.abandon(staged, self.destination)
        return self._result(self._decision(newest, content, version), version, True, judged["reason"], judged["gates"])

    def _convert(self, staged):
        names = ("signature", "samples", "progress") + JUDGING
        request = dict({name: self.options[name] for name in names}, action="convert", source=self.source, size_bytes=self.model["size_bytes"],
                       contract=self.contract, staged=staged)
        return self._call(request)

    def _copy(self, staged, digest):
        published.copy(self.source, staged)
        if saved_model.digest(staged) != digest:
            raise FleetError("it changed while it was copied", where=self.source, remedy="Run again when nobody writes to it.")
        return {"accepted": True, "reason": self._reason(None), "gates": None}

    def _call(self, request):
        return program.call(PROGRAM, request, self.python, timeout_s=self.options["timeout_s"], environment=QUIET)

    def _reason(self, judged):
        if judged is None:
            return "the source as it is"
        return gates.decide(judged["outputs"], judged["metric"], self.options["maximum_difference"], self.options["accept_unjudged"])[1]

    def _decision(self, newest, content, version):
        path = os.path.join(self.destination, str(version))
        before = manifest.text(newest) if newest else ""
        return Decision(True, before, manifest.text(content), (f"publish {path}",), self._warnings(), os.path.join(path, saved_model.MANIFEST))

    def _dropped(self):
        return sorted(set(self.model["signatures"]) - {self.options["signature"]}) if self.lossy and self.model else []

    def _warnings(self):
        """One warning where the source has signatures that the form loses, other than another name for the same."""
        def face(signature):
            return [{name: (tensor["dtype"], tensor["shape"]) for name, tensor in signature[side].items()} for side in ("inputs", "outputs")]

        lost = [name for name in self._dropped() if face(self.model["signatures"][name]) != face(self.contract)]
        return (f"TensorFlow Lite serves one signature: {self.options['signature']} stays, {', '.join(lost)} cannot be called.",) if lost else ()

    def _refused(self, reason, judged):
        if self.options["required"]:
            raise FleetError(f"{self.options['form']} is refused: {reason}", where=self.source)
        return self._result(Decision(False), None, False, reason, judged)

    def _result(self, decision, version, accepted, reason, judged):
        path = None if version is None else os.path.join(self.destination, str(version))
        return decision.result(accepted=accepted, reason=reason, model=os.path.basename(os.path.dirname(self.destination)),
                               form=self.options["form"] if self.lossy else "saved_model", version=version, path=path, gates=judged,
                               dropped_signatures=self._dropped())


def main():
    """Ansible's entry."""
    module = AnsibleModule({
        "python": {"type": "path"}, "source": {"type": "path", "required": True}, "destination": {"type": "path", "required": True},
        "version": {"type": "int"}, "form": {"type": "str", "choices": ["none", "tflite_dynamic_range"], "default": "none"},
        "signature": {"type": "str", "default": "serving_default"}, "samples": {"type": "path"},
        "metric": {"type": "str", "choices": ["accuracy", "auc", "rmse", "top_k"]}, "metric_output": {"type": "str"},
        "allowed_loss": {"type": "float", "default": 0.01}, "maximum_difference": {"type": "float"},
        "accept_unjudged": {"type": "bool", "default": False}, "required": {"type": "bool", "default": False},
        "timeout_s": {"type": "float", "default": 1800}, "progress": {"type": "path"},
    }, supports_check_mode=True)
    shell.run(module, Conversion(module.params, module.check_mode).run)


if __name__ == "__main__":
    main()
