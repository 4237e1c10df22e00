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
      - The model decides whether a version is the same. Its manifest, warm-up requests and batching parameters do not. Changed warm-up requests replace those
        of the version; a server reads them when it loads it.
    type: int
  rehash:
    description:
      - Read every file. By default the digest of a file that did not change is remembered in the user's cache, by its device, inode, size and times.
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

import os
import re
import sys

from ansible_collections.tfserving.fleet.plugins.module_utils._core import atomic_files, program, shell
from ansible_collections.tfserving.fleet.plugins.module_utils._core.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import LONGEST_S, absolute_path, bounded
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded import temporary_server
from ansible_collections.tfserving.fleet.plugins.module_utils._engine import container_command
from ansible_collections.tfserving.fleet.plugins.module_utils._model import (
    acceptance,
    analysis,
    convert,
    digests,
    manifest,
    meta_graph,
    model_files,
    published,
    saved_model,
    server_check,
    task_metrics,
    variants,
    versions,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._model.refused import Refused
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import chosen, problems, unset
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions

PROGRAM = convert.__name__.partition("module_utils.")[2]
CHECK = server_check.__name__.partition("module_utils.")[2]
JUDGING = (
    "metric",
    "metric_output",
    "metric_goal",
    "allowed_loss",
    "maximum_difference",
    "accept_unjudged",
    "through_server",
)
MAKING = ("select_tf_ops", "batch_sizes")
TENSORRT = ("precision", "workspace_mib", "compute_capability", "server_release")
ASKED = ("signature", "form", "tags", "progress", "metric_function", "memory_mib") + JUDGING + MAKING + TENSORRT
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2"}
# By a fault of its own; 128 and the signal's number is what a shell and a container say. A SIGKILL comes from outside, for instance for lack of memory.
_CRASHED = re.compile(r"was killed by SIG(ABRT|BUS|FPE|ILL|SEGV)\b|ended with exit status 1(32|34|35|36|39)\b")
NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1"}


class Conversion:
    """One form of one model: read, decide, make."""

    def __init__(self, options, check_mode):
        self.options, self.check_mode = options, check_mode
        self.source, self.destination = os.path.abspath(options["source"]), os.path.abspath(options["destination"])
        self.python = options["python"] or sys.executable
        self.converted = options["form"] != variants.NONE
        self.needs_program = self.converted or bool(options["batch_sizes"])
        self.model = self.contract = self.samples = None
        self.digests = digests.Digests(options["rehash"])

    def run(self):
        """The module's result."""
        self._check_options()
        missing = [
            path
            for path in (self.source, self.options["samples"], self.options["metric_function"])
            if path and not os.path.exists(path)
        ]
        if self.check_mode and missing:
            return self._not_yet(missing[0])
        self.model = saved_model.read(self.source, self.options["tags"])
        self.contract = chosen(self.model["signatures"], self.options["signature"]) if self.needs_program else None
        self.samples = self.options["samples"] or self._own_samples()
        refused = self._refusal(None)
        if refused:
            return self._refused(refused, None)
        files = published.inventory(self.source, self.digests)
        source = {
            "path": self.source,
            "digest": manifest.digest(files),
            "tensorflow_version": self.model["tensorflow_version"],
        }
        converter = self._call({"action": "release"}) if self.needs_program else None
        refused = self._refusal((converter or {}).get("tensorflow"))
        if refused:
            return self._refused(refused, None)
        key = manifest.key(source["digest"], self._deciding(), converter)
        content_key = manifest.content_key(source["digest"], self._deciding(), converter)
        held = published.held(self.destination, content_key, self.digests)
        version, there = versions.place(
            held,
            manifest.holding(held, content_key),
            self._number(),
            both=lambda number: f"{manifest.origin(held[number])} there, {manifest.shown(self.source, files)} now",
        )
        if there and held[version]["key"] == key:
            return self._found(version, held[version])
        told = published.refusal(self.destination, key)
        if told:
            return self._refused(told["reason"], told["gates"])
        newest = held.get(version if there else max(held, default=0))
        if self.check_mode:
            content = manifest.build(source, self._deciding(), converter, None, {})
            reason = "not known before the conversion" if self.converted else self._reason(None)
            return self._result(
                self._decision(newest, content, version), version, None if self.converted else True, reason, None
            )
        try:
            return self._make(source, converter, version, newest, key)
        except OSError as fault:
            raise FleetError(
                f"cannot be written: {fault.strerror or fault}", where=self.destination, remedy="Nothing was published."
            ) from fault

    def _number(self):
        """The number that the user or the source's folder names, or None."""
        return versions.named_by(self.source) if self.options["version"] is None else self.options["version"]

    def _refusal(self, converter):
        name = self.options["signature"]
        signatures = self.model["signatures"]
        for meant in [name] if name in signatures else sorted(signatures):
            if unset(signatures[meant]):
                return f"signature {meant}: {unset(signatures[meant])}"
        return variants.refusal(
            self.options,
            self.contract,
            self.samples,
            converter,
            self.model["ops"].get(name, ()),
            self.model["optional_inputs"].get(name, ()),
        )

    def _not_yet(self, path):
        """What check mode says where an earlier task would have made the source, or a file beside it."""
        decision = Decision(
            True,
            actions=(f"publish below {self.destination}",),
            warnings=(f"{path} does not exist; a real run fails unless it does by then.",),
        )
        return self._result(
            decision, None, None, f"{'the source' if path == self.source else path} does not exist yet", None
        )

    def _check_options(self):
        options = self.options
        for name in ("source", "destination"):
            absolute_path(name, options[name])
        bounded("version", 1 if options["version"] is None else options["version"], 1, 2**63 - 1)
        bounded("allowed_loss", options["allowed_loss"], 0)
        bounded("maximum_difference", options["maximum_difference"] or 0, 0)
        bounded("timeout_s", options["timeout_s"], 0.001, LONGEST_S, "s")
        bounded("memory_mib", 1 if options["memory_mib"] is None else options["memory_mib"], 1, unit="MiB")
        bounded("workspace_mib", options["workspace_mib"], 1, unit="MiB")
        if options["server_release"]:
            questions.parse(options["server_release"], "server_release")
        variants.check(options)
        inside = os.path.commonpath([self.source, self.destination])
        if inside == self.source:
            raise FleetError(
                f"{self.destination!r} is the source or lies inside it",
                where="destination",
                remedy="Name a directory outside of the source.",
            )

    def _own_samples(self):
        """The source's warm-up file where it is sound and nothing needs labels; a source whose file a server would die of is refused."""
        held = self.model["warmup"]
        if not held or self.options["batch_sizes"]:
            return None
        if held["faults"]:
            raise FleetError(
                f"its warm-up file: {held['faults'][0]}",
                where=os.path.join(self.source, manifest.WARMUP),
                remedy="Remove the file, or give samples and batch_sizes for a new one.",
            )
        usable = held["kinds"].get("predict") and self.options["metric"] in (None, "function")
        return os.path.join(self.source, manifest.WARMUP) if self.converted and usable else None

    def _deciding(self):
        """The options that decide the content and its judgement."""
        options = self.options
        tags = (
            {}
            if tuple(sorted(set(options["tags"]))) == meta_graph.SERVED_TAGS
            else {"tags": sorted(set(options["tags"]))}
        )
        if not self.needs_program:
            return dict({"form": variants.NONE}, **tags)
        names = (
            ("form", "signature")
            + MAKING
            + (JUDGING if self.converted else ())
            + (TENSORRT if options["form"] == "tensorrt" else ())
        )
        files = {
            name: path and self.digests.of(path)
            for name, path in (("samples", self.samples), ("metric_function", options["metric_function"]))
        }
        return dict({name: options[name] for name in names}, **files, **tags)

    def _found(self, version, found):
        """The result for a version that is there already; an older server may refuse what a newer one took."""
        problem = variants.runtime_problem(found.get("lowest_runtime"), self.options["server_release"])
        if problem:
            return self._refused(problem, found["gates"])
        return self._result(Decision(False), version, True, self._reason(found["gates"]), found["gates"], found)

    def _make(self, source, converter, version, newest, key):
        staged = published.stage(self.destination)
        try:
            judged = self._convert(staged, key) if self.converted else self._copy(staged, source["digest"])
            if not judged["accepted"]:
                return self._refused(judged["reason"], judged["gates"])
            content = manifest.build(
                source,
                self._deciding(),
                converter,
                judged["gates"],
                published.inventory(staged, self.digests),
                judged["lowest_runtime"],
                judged["warmup_batch_sizes"],
            )
            if version in published.numbered(self.destination):
                published.renew(staged, os.path.join(self.destination, str(version)), content)
            else:
                published.finish(staged, self.destination, version, content)
            published.remember_refusal(self.destination, None)
        finally:
            published.abandon(staged, self.destination)
        return self._result(
            self._decision(newest, content, version), version, True, judged["reason"], judged["gates"], content
        )

    def _convert(self, staged, key):
        with atomic_files.scratch_directory() as asked:
            try:
                judged = self._call(self._request("convert", staged, asked))
            except FleetError as fault:
                if not _CRASHED.match(fault.what):
                    raise
                return {
                    "accepted": False,
                    "gates": None,
                    "reason": f"TensorFlow crashed over it: the program {fault.what}; serve the SavedModel",
                }
            if not judged["accepted"]:
                published.remember_refusal(
                    self.destination, {"key": key, "reason": judged["reason"], "gates": judged["gates"]}
                )
            problem = variants.runtime_problem(judged["lowest_runtime"], self.options["server_release"])
            if judged["accepted"] and problem:
                judged.update(accepted=False, reason=problem)
            if judged["accepted"] and self.options["through_server"]:
                try:
                    self._serve(staged, asked, judged)
                except Refused as reason:
                    judged.update(accepted=False, reason=f"through a server: {reason}")
        return judged

    def _request(self, action, staged, asked=None):
        return dict(
            {name: self.options[name] for name in ASKED},
            action=action,
            source=self.source,
            size_bytes=self.model["size_bytes"],
            contract=self.contract,
            staged=staged,
            samples=self.samples,
            asked=asked,
            model=self._name(),
        )

    def _serve(self, staged, asked, judged):
        """Ask the same of a server that loaded the staged version, over gRPC, and decide again."""
        archive = os.path.join(asked, convert.ASKED)
        if not os.path.exists(archive):
            judged.update(
                accepted=False, reason="through_server asks for examples that both models answer, and there are none"
            )
            return
        options = self.options
        with temporary_server.version(
            staged,
            self._name(),
            self.python,
            os.path.join(asked, "server"),
            options["timeout_s"],
            dict(QUIET, **NO_GPU),
        ) as port:
            target = {
                "name": "the server",
                "protocol": "grpc",
                "address": "127.0.0.1",
                "port": port,
                "model": self._name(),
                "signature": options["signature"],
                "version": None,
            }
            found = program.call(
                CHECK,
                {
                    "target": target,
                    "samples": archive,
                    "limit": None,
                    "batch": 32,
                    "metric": options["metric"],
                    "metric_output": options["metric_output"],
                    "metric_function": options["metric_function"],
                    "reference": archive,
                    "reference_target": None,
                    "deadline_s": options["timeout_s"],
                },
                self.python,
                timeout_s=options["timeout_s"],
            )
        metric = judged["gates"]["metric"] and dict(judged["gates"]["metric"], after=found["metric"]["value"])
        judged["gates"]["served"] = {"outputs": found["outputs"], "metric": metric}
        accepted, reason = acceptance.decide(
            found["outputs"], metric, options["maximum_difference"], options["accept_unjudged"]
        )
        if not accepted:
            judged.update(accepted=False, reason=f"through a server: {reason}")

    def _copy(self, staged, digest):
        published.copy(self.source, staged)
        if manifest.digest(published.inventory(staged, self.digests)) != digest:
            raise FleetError(
                "it changed while it was copied", where=self.source, remedy="Run again when nobody writes to it."
            )
        held = self.model["warmup"]
        sizes = (
            self._call(self._request("warm_up", staged))["warmup_batch_sizes"]
            if self.needs_program
            else held["batch_sizes"]
            if held
            else []
        )
        return {
            "accepted": True,
            "reason": self._reason(None),
            "gates": None,
            "lowest_runtime": None,
            "warmup_batch_sizes": sizes,
        }

    def _call(self, request):
        options = self.options
        environment = dict(QUIET, **({} if options["form"] == "tensorrt" else NO_GPU))
        python = self._container(request, environment) if options["container_image"] else self.python
        return program.call(PROGRAM, request, python, timeout_s=options["timeout_s"], environment=environment)

    def _container(self, request, environment):
        """How program.call runs the program in the container: a function from the directory of its files to the command line."""
        options = self.options
        readable = [path for path in (self.source, request.get("samples"), options["metric_function"]) if path]
        progress = [os.path.dirname(os.path.abspath(options["progress"]))] if options["progress"] else []
        writable = [path for path in (request.get("staged"), request.get("asked")) if path] + progress
        gpus = options["container_gpus"] or ("all" if options["form"] == "tensorrt" else None)
        return lambda directory: container_command.command(
            options["container_image"],
            readable,
            [directory, *writable],
            f"{os.geteuid()}:{os.getegid()}",
            environment,
            gpus,
            options["container_engine"],
        )

    def _name(self):
        return os.path.basename(os.path.dirname(self.destination))

    def _reason(self, judged):
        if judged is None:
            return "the source as it is"
        return acceptance.decide(
            judged["outputs"], judged["metric"], self.options["maximum_difference"], self.options["accept_unjudged"]
        )[1]

    def _decision(self, newest, content, version):
        path = os.path.join(self.destination, str(version))
        before = manifest.text(newest) if newest else ""
        return Decision(
            True,
            before,
            manifest.text(content),
            (f"publish {path}",),
            self._warnings(),
            os.path.join(path, model_files.MANIFEST),
        )

    def _dropped(self):
        return (
            sorted(set(self.model["signatures"]) - {self.options["signature"]})
            if variants.FORMS[self.options["form"]].lite and self.model
            else []
        )

    def _warnings(self):
        """What every request fails of, what may run, and the signatures that the form loses, other than another name for the same."""

        def face(signature):
            return [
                {name: (tensor["dtype"], tensor["shape"]) for name, tensor in signature[side].items()}
                for side in ("inputs", "outputs")
            ]

        lost = [name for name in self._dropped() if face(self.model["signatures"][name]) != face(self.contract)]
        found = problems(self.model["signatures"])
        found += [
            f"signature {name}: {unset(one)}" for name, one in sorted(self.model["signatures"].items()) if unset(one)
        ]
        if self.converted:
            found += analysis.perhaps_warnings(self.model["uncertain_ops"].get(self.options["signature"], ()))
        if lost:
            found.append(
                f"TensorFlow Lite serves one signature: {self.options['signature']} stays, {', '.join(lost)} cannot be called."
            )
        return tuple(found)

    def _refused(self, reason, judged):
        if self.options["required"]:
            raise FleetError(f"{self.options['form']} is refused: {reason}", where=self.source)
        return self._result(Decision(False), None, False, reason, judged)

    def _result(self, decision, version, accepted, reason, judged, content=None):
        path = None if version is None else os.path.join(self.destination, str(version))
        made = content or {}
        return decision.result(
            accepted=accepted,
            reason=reason,
            model=self._name(),
            form=self.options["form"] if self.converted else "saved_model",
            version=version,
            path=path,
            gates=judged,
            dropped_signatures=self._dropped(),
            lowest_runtime=made.get("lowest_runtime"),
            warmup_batch_sizes=made.get("warmup_batch_sizes", []),
        )


def main():
    """Ansible's entry."""
    module = shell.FleetModule(
        {
            "python": {"type": "path"},
            "source": {"type": "path", "required": True},
            "destination": {"type": "path", "required": True},
            "tags": {"type": "list", "elements": "str", "default": ["serve"]},
            "version": {"type": "int"},
            "rehash": {"type": "bool", "default": False},
            "form": {"type": "str", "choices": list(variants.FORMS), "default": variants.NONE},
            "signature": {"type": "str", "default": "serving_default"},
            "samples": {"type": "path"},
            "batch_sizes": {"type": "list", "elements": "int", "default": []},
            "select_tf_ops": {"type": "bool", "default": False},
            "server_release": {"type": "str"},
            "compute_capability": {"type": "str"},
            "precision": {"type": "str", "choices": list(variants.tensorrt.PRECISIONS), "default": "FP16"},
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
        },
        supports_check_mode=True,
    )
    shell.run(module, Conversion(module.params, module.check_mode).run)


if __name__ == "__main__":
    main()
