#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tuning
version_added: 0.1.0
short_description: Try optimisations one by one and keep those that proved faster
description:
  - Starts trial servers of one model on the host, measures each candidate side by side with the best configuration so far, in
    interleaved windows of one run, and keeps it only where accuracy holds, the latency objective holds and the gain is larger than the noise.
  - The noise is measured first, as the start against itself. That nothing is kept is a normal result.
  - Each comparison measures several pairs of fresh servers, since one server of a configuration is faster than another for as long as it lives. Both of a pair
    are asked the same before they are measured. A gain of several times takes two pairs, a small one more.
  - A candidate that lost is tried once more after another one was kept, as two changes together can gain what one alone does not. At last the numbers of
    what was kept are doubled and halved until nothing more is gained.
  - At the end the final configuration is compared with the start. Unless that confirms a gain, the start is kept.
  - The trial servers are separate from those that serve. All are stopped at the end. Should the controller die, those of the backend V(embedded) end by
    themselves ten minutes after their last request; containers stay until the next tuning of the model, which takes them up again.
  - The generator runs on the same host. Where there are two CPUs or more, it gets CPUs of its own.
notes:
  - This runs as an action plugin on the controller, which needs C(hdrhistogram), and calls M(tfserving.fleet.model_server),
    M(tfserving.fleet.batching_parameters), M(tfserving.fleet.model_server_check) and M(tfserving.fleet.load_test) on the host.
options:
  name:
    description: Name of the model.
    type: str
    required: true
  python:
    description: Python interpreter on the host that has TensorFlow, gRPC and hdrhistogram.
    type: path
    required: true
  model_directory:
    description: Where models are published on the host, as RV(ignore:<model_directory>/<name>/<form>/<version>).
    type: path
    required: true
  samples:
    description:
      - NumPy archive on the host with C(inputs.<name>) for each input and, where labelled, C(labels). It feeds the load and the accuracy check.
      - Without it requests are made up from the signature, as O(tfserving.fleet.load_test#module:samples) says. What can change answers, another variant of the
        model, is then measured and reported, and not kept.
    type: path
  signature:
    description: Signature to call.
    type: str
    default: serving_default
  metric:
    description: Task metric on the labelled samples, as M(tfserving.fleet.model_server_check) knows it. Without it accuracy is not judged.
    type: str
    choices: [accuracy, auc, function, rmse, top_k]
  metric_output:
    description: The output that is judged, where there are several.
    type: str
  metric_function:
    description: Python file on the host with a function of your own, for O(metric=function), as O(tfserving.fleet.model_conversion#module:metric_function) is.
    type: path
  metric_goal:
    description: Which of two values is better, where the metric does not say it.
    type: str
    choices: [higher, lower]
  allowed_loss:
    description: How much worse the metric may become by an optimisation, in its own unit, 0 or more.
    type: float
    default: 0.01
  start:
    description:
      - The configuration to start from, any of C(protocol) (C(grpc) or C(rest)), C(form) (of the model, for instance C(saved_model)), C(batching)
        (options of M(tfserving.fleet.batching_parameters), or null for none), C(environment) and C(flags) of the server.
    type: dict
    default: {}
  candidates:
    description: What to try, in this order, as the plan lists it.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What users know it by.
        type: str
        required: true
      change:
        description:
          - Part of a configuration as in O(start). C(environment) and C(flags) are merged, a null takes a name away.
          - C(protocol) stands alone. It is what clients would change. It is measured against the other protocol, reported with C(advice) true, and neither
            kept nor part of RV(tuning.total).
        type: dict
        required: true
      reason:
        description: Why it may help.
        type: str
      model:
        description: The model it is for; one that is for another model is passed over. Without it, for all.
        type: str
  objective_p99_ms:
    description: Latency objective in milliseconds. Only answers within it count as goodput, and a candidate whose p99 misses it is not kept.
    type: float
  refine:
    description: Whether to double and halve the numbers of what was kept until nothing more is gained. Without it O(candidates) is all that is tried.
    type: bool
    default: true
  accept_fragile:
    description:
      - Whether to keep a faster configuration although a malformed request ends its server, as O(tfserving.fleet.model_server#module:accept_fragile).
        Such a configuration is measured and reported in any case.
    type: bool
    default: false
  concurrency:
    description: Requests in flight in the closed loop, 1 to 512.
    type: int
    default: 8
  window_s:
    description: Length of one measured window in seconds, 0.5 to 600.
    type: float
    default: 1.5
  window_requests:
    description:
      - Requests that a window should hold, 0 to 10000. Where O(window_s) is too short for them, windows are longer, up to O(window_max_s).
    type: int
    default: 30
  window_max_s:
    description: The longest window in seconds that O(window_requests) may lead to, 0.5 to 3600.
    type: float
    default: 120
  budget_min:
    description:
      - Minutes that the tuning may take, 0.1 to 10000. Candidates that no longer fit are listed as not measured; how many fit is said as soon as the
        first comparison shows how long one takes. The final comparison is always made.
    type: float
  rounds:
    description: Rounds (one window of each side) on each pair of fresh servers, 1 to 100. An even number lets a drift of the machine cancel.
    type: int
    default: 2
  instances:
    description:
      - Pairs of fresh servers that one comparison takes at most, 1 to 95. The result is looked at after 1, 2, 3, 5, 8, 12, 18, … pairs. Measuring ends
        with the first look that settles it, or after which more pairs would hardly show a gain worth keeping.
    type: int
    default: 28
  minimum_gain:
    description: The smallest gain worth keeping, as a fraction of goodput.
    type: float
    default: 0.03
  confidence:
    description:
      - Confidence of the intervals, 0.5 to 0.999. It holds wherever measuring stops. All gains of a tuning together are wrong no more often than one interval.
    type: float
    default: 0.95
  cpus:
    description: CPU numbers that may be used on the host, for instance V(0-3).
    type: str
    required: true
  state_directory:
    description: Where the trial servers keep their state on the host.
    type: path
    required: true
  backend:
    description: What serves in the trials, as O(tfserving.fleet.model_server#module:backend).
    type: str
    choices: [docker, embedded]
    default: embedded
  image:
    description: Image of the backend V(docker).
    type: str
  server:
    description: Further options of M(tfserving.fleet.model_server) for the trial servers, for instance C(devices), C(user) and C(memory_mib).
    type: dict
    default: {}
  progress:
    description: File on the host to which the load generator writes how far it is, for the callback P(tfserving.fleet.progress#callback).
    type: path
  seed:
    description: Seed of the order of windows and of arrivals.
    type: int
    default: 1
  keep_in:
    description:
      - Folder on the controller in which the tuning is kept for later runs, as C(TUNING_CLASS/NAME.yml). Without it nothing is kept.
      - Each pair of servers is logged there as it ends, in a hidden file that the end of the tuning removes. One that was killed goes on there.
      - The file holds what beat the plan, the gain with its interval, where and when it was measured, and the backend, image and release that it is valid for.
    type: str
  tuning_class:
    description: Tuning class of the host, of C(ansible_facts.tfserving_capabilities). Required with O(keep_in).
    type: str
  release:
    description: Release of TensorFlow Serving that serves, for the file.
    type: str
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  check_mode:
    description: Says what would be tried, starts and measures nothing.
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Find out what TensorFlow Serving gains from oneDNN on this host
  tfserving.fleet.tuning:
    name: digits
    backend: docker
    image: tensorflow/serving:2.20.0
    python: /opt/tfserving/venv/bin/python
    model_directory: /srv/models
    samples: /srv/samples/digits.npz
    cpus: 0-7
    state_directory: /var/lib/tfserving
    start: {protocol: grpc}
    candidates:
      - name: oneDNN off
        change: {environment: {TF_ENABLE_ONEDNN_OPTS: "0"}}

- name: Find out what makes the digits model faster on this host
  tfserving.fleet.tuning:
    name: digits
    python: /opt/tfserving/venv/bin/python
    model_directory: /srv/models
    samples: /srv/samples/digits.npz
    metric: accuracy
    allowed_loss: 0.01
    objective_p99_ms: 100
    cpus: 0-1
    state_directory: /var/lib/tfserving
    start: {protocol: rest}
    candidates:
      - name: gRPC instead of REST, as advice to the owners of the clients
        change: {protocol: grpc}
      - name: TensorFlow Lite, dynamic range
        change: {form: tflite_dynamic_range}
  register: tuned
"""

RETURN = r"""
tuning:
  description: What was tried, what it brought and what was kept; null in check mode.
  returned: always
  type: dict
  contains:
    start:
      description: The configuration it started from.
      type: dict
      sample: {protocol: rest, form: saved_model, batching: null, environment: {}, flags: {}}
    configuration:
      description: The configuration that proved best; equal to RV(tuning.start) when nothing was kept.
      type: dict
      sample: {protocol: rest, form: tflite_dynamic_range, batching: null, environment: {}, flags: {}}
    steps:
      description:
        - One entry a candidate, in order, with C(name), C(change), C(kept), C(reason), C(goodput_rps), C(p50_ms), C(p99_ms), C(requests), C(gain),
          C(gain_interval), C(noise_floor), C(accuracy), C(curve_before) and C(curve_after), and with C(instances) and C(rounds), the pairs of servers and the
          rounds on them that counted. What was not measured is null.
      type: list
      elements: dict
      sample:
        - name: TensorFlow Lite
          change: {form: tflite_dynamic_range}
          kept: true
          reason: "+151.2 % (95 % interval +130.0 % to +174.4 %, 4 rounds on 2 pairs of servers): faster, beyond the noise floor of +14.1 %"
          goodput_rps: 406.0
          p50_ms: 15.3
          p99_ms: 72.6
          requests: 2437
          gain: 1.512
          gain_interval: [1.3, 1.744]
          noise_floor: 0.141
          instances: 2
          rounds: 4
          accuracy: {before: 0.989, after: 0.989}
          curve_before: [[0.5, 38.4], [0.99, 91.0]]
          curve_after: [[0.5, 15.3], [0.99, 72.6]]
    total:
      description: The same for the final configuration against the start, and C(open_loop), latencies of both at one rate below their ceilings.
      type: dict
      sample: {name: total, kept: true, gain: 1.498, gain_interval: [1.422, 1.576], noise_floor: 0.041, requests: 4880}
    noise:
      description: The same for the start against itself.
      type: dict
      sample: {name: noise, kept: false, gain: 0.004, gain_interval: [-0.033, 0.041], noise_floor: 0.041, requests: 4120}
    method:
      description: How it was measured, with the number of void windows and why they were void.
      type: dict
      sample: {loop: closed, concurrency: 8, window_s: 1.0, rounds: 2, instances: 28, confidence: 0.95, minimum_gain: 0.03, void_windows: 0, void_reasons: []}
actions:
  description: What would be tried.
  returned: in check mode
  type: list
  elements: str
  sample: ["Measure REST to gRPC: JSON is dear for number lists; by how much depends on the size of the tensors"]
"""
