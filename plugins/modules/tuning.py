#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tuning
version_added: 0.1.0
short_description: Measure candidate optimizations one by one and keep those that are faster
description:
  - Starts trial servers of one model on the host. Measures each candidate against the best configuration so far, in interleaved windows of one run. Keeps a
    candidate only if accuracy holds, the latency objective holds, and the gain is larger than the noise.
  - The noise comes first. The module measures the start against itself. It is a normal result that no candidate is kept.
  - Each comparison measures several pairs of fresh servers, because some servers of a configuration are faster than others for as long as they live. Both
    servers of a pair get the same requests before they are measured. A gain of several times needs two pairs, a small gain needs more.
  - A candidate that lost is tried once more after another one was kept, since two changes together can gain what one alone does not. At the end the module
    doubles and halves the numbers of the kept changes until nothing more is gained.
  - Finally the module compares the final configuration with the start. Unless that comparison confirms a gain, the module keeps the start.
  - The trial servers are separate from those that serve. The module stops all trial servers at the end. If the controller fails, trial servers of the backend
    V(embedded) end by themselves ten minutes after their last request. Containers stay until the next tuning of the model on the host, which first removes
    all trial servers of the model in O(state_directory). Therefore do not tune one model twice at the same time on a host.
  - A variant is not kept if clients could no longer call a signature, and it is not measured if its newest version was not made from the newest SavedModel.
  - The load generator runs on the same host. If there are two CPUs or more, it gets its own CPUs.
notes:
  - This is an action plugin on the controller, which needs C(hdrhistogram). It runs M(tfserving.fleet.model_server), M(tfserving.fleet.batching_parameters),
    M(tfserving.fleet.model_server_check) and M(tfserving.fleet.load_test) on the host.
options:
  name:
    description: Name of the model.
    type: str
    required: true
  python:
    description:
      - Python interpreter on the host that has TensorFlow, gRPC and hdrhistogram.
      - Without it, the module uses the Python interpreter that Ansible uses on the host.
    type: path
  model_directory:
    description: Directory of the published models on the host, with folders C(<name>/<variant>/<version>).
    type: path
    required: true
  samples:
    description:
      - NumPy archive on the host with C(inputs.<name>) for each input and, if labeled, C(labels). The load and the accuracy check use it.
      - Without it, the module sends the examples in the warm-up file of the model's newest version. If there is none, or C(dimensions) of O(traffic) is set, it
        generates requests from the signature, as O(tfserving.fleet.load_test#module:samples) describes. It then measures and reports candidates that can change
        answers, such as another variant of the model, but does not keep them.
      - If the model rejects the requests that were made without it, the module warns and measures nothing. RV(tuning) is then null.
    type: path
  signature:
    description: Signature that gets the requests.
    type: str
    default: serving_default
  metric:
    description: Task metric that is evaluated on the labeled samples, as in M(tfserving.fleet.model_server_check). Without it, accuracy is not checked.
    type: str
    choices: [accuracy, auc, function, rmse, top_k]
  metric_output:
    description: Output that O(metric) evaluates, if the signature has several.
    type: str
  metric_function:
    description: Python file on the host with your own function, for O(metric=function), as in O(tfserving.fleet.model_conversion#module:metric_function).
    type: path
  metric_goal:
    description: Whether a higher or a lower value of O(metric) is better. Without it, V(lower) for V(rmse) and V(higher) for all others.
    type: str
    choices: [higher, lower]
  allowed_loss:
    description: How much worse O(metric) may become, in the metric's own unit, 0 or more.
    type: float
    default: 0.01
  start:
    description:
      - Configuration to start from, any of C(protocol) (C(grpc) or C(rest)), C(form) (variant of the model, such as C(saved_model)), C(batching) (options of
        M(tfserving.fleet.batching_parameters), null for no batching), C(environment) and C(flags) of the server.
    type: dict
    default: {}
  candidates:
    description:
      - Candidates to measure, in the format of the plan. All are first measured briefly against O(start), in this order. The one that gains most is kept, and
        the others are measured again on top of it.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the candidate in output and reports.
        type: str
        required: true
      change:
        description:
          - Part of a configuration as in O(start). C(environment) and C(flags) are merged, and null removes a name.
          - C(protocol) cannot be combined with other changes. Only clients can change it, so the candidate is measured against the other protocol and reported
            with C(advice) true. It is never kept and does not count in RV(tuning.total).
        type: dict
        required: true
      reason:
        description: Why the candidate may help.
        type: str
      model:
        description: Name of the model that the candidate is for. The module skips a candidate for another model. Without it, the candidate is for all models.
        type: str
  goal:
    description:
      - What to improve. V(goodput) is the highest rate of answers within O(objective_p99_ms), in a closed loop. On one class of hosts it is also the lowest
        cost, because the cost of a request is the price of a host divided by its goodput.
      - V(latency) is the lowest p99 in an open loop at C(rate_rps) or C(arrivals) of O(traffic). The gain is the p99 of the best configuration so far, divided
        by that of the candidate, minus 1. A server that does not keep up with the rate has no p99. Windows have as many requests as a p99 needs.
    type: str
    choices: [goodput, latency]
    default: goodput
  objective_p99_ms:
    description:
      - Latency objective in milliseconds. Only answers within it count as goodput. A candidate whose p99 misses it is not kept, unless the best configuration
        so far misses it by as much or more.
      - At the end, the module looks for the highest rate at which the p99 of the start and of the final configuration is within it, by a bisection with an open
        loop of five windows. A window has 1,200 requests, and is left out if it would take longer than O(window_max_s) or the rest of O(budget_min).
    type: float
  refine:
    description:
      - Whether to start batching with the values that requests of several rows predict, and to double and halve the numbers of the kept changes until nothing
        more is gained. Without it, only O(candidates) are tried.
      - The numbers of the batching of O(start) are doubled and halved as well if one of O(candidates) turns it off (C(batching) null).
    type: bool
    default: true
  accept_fragile:
    description:
      - Whether to keep a faster configuration whose server a malformed request can end, as in O(tfserving.fleet.model_server#module:accept_fragile). The module
        measures and reports such a configuration in any case.
    type: bool
    default: false
  accept_unjudged:
    description:
      - Whether to keep a faster variant of the model although no O(metric) judges its answers. The module measures and reports such a variant in any case.
    type: bool
    default: false
  traffic:
    description:
      - Requests that clients send. The module repeats them in all measurements.
      - The gain of a candidate is measured in a closed loop with C(concurrency) requests in flight. The open loop at the end sends at C(rate_rps) or at the
        times of C(arrivals). Without both, it sends at 60 % of the rate that the slower one of start and final configuration reached.
    type: dict
    default: {}
    suboptions:
      batch_sizes:
        description:
          - Numbers of examples in requests, a list, or a mapping of numbers to weights, as in O(tfserving.fleet.load_test#module:batch). Without it, 1.
        type: raw
      concurrency:
        description: Requests in flight in a closed loop, 1 to 512. Without it, 8.
        type: int
      rate_rps:
        description: Requests per second, 0.01 to 100000.
        type: float
      arrivals:
        description: File on the host with recorded arrival times, as in O(tfserving.fleet.load_test#module:arrivals).
        type: path
      dimensions:
        description:
          - Lengths of unknown dimensions of generated requests, as in O(tfserving.fleet.load_test#module:dimensions). They apply only without O(samples).
        type: dict
  window_s:
    description: Length of one measured window in seconds, 0.5 to 600.
    type: float
    default: 1.5
  window_requests:
    description: Minimum number of requests in a window, 0 to 10000. If O(window_s) is too short for them, windows become longer, up to O(window_max_s).
    type: int
    default: 30
  window_max_s:
    description: Longest window in seconds that O(window_requests) may cause, 0.5 to 3600.
    type: float
    default: 120
  budget_min:
    description:
      - Time that the tuning may take, in minutes, 0.1 to 10000. The module lists candidates that no longer fit as not measured. It prints how many fit after
        the first comparison, which shows how long one takes. It always makes the final comparison.
    type: float
  rounds:
    description: Number of rounds on each pair of fresh servers, 1 to 100. A round is one window of each side. An even number cancels a drift of the machine.
    type: int
    default: 2
  instances:
    description:
      - Maximum number of pairs of fresh servers in one comparison, 1 to 95. The module looks at the result after 1, 2, 3, 5, 8, 12, 18, … pairs. It stops after
        the first look that decides, or after which more pairs would hardly show a gain worth keeping.
    type: int
    default: 28
  minimum_gain:
    description: Smallest gain worth keeping, as a fraction, 0 to 10.
    type: float
    default: 0.03
  confidence:
    description:
      - Confidence of the intervals, 0.5 to 0.999. It holds wherever the measurement stops. All gains of a tuning together are wrong no more often than one
        interval.
    type: float
    default: 0.95
  cpus:
    description: CPU numbers that the server and the load generator may use, such as V(0-3).
    type: str
    required: true
  state_directory:
    description: Directory on the host for the state of the trial servers.
    type: path
    required: true
  backend:
    description: Backend of the trial servers, as in O(tfserving.fleet.model_server#module:backend).
    type: str
    choices: [docker, embedded]
    default: embedded
  image:
    description: Image of the backend V(docker), required there.
    type: str
  server:
    description: More options of M(tfserving.fleet.model_server) for the trial servers, such as C(devices), C(user) and C(memory_mib).
    type: dict
    default: {}
  progress:
    description: File on the host to which the load generator writes its progress, for the callback P(tfserving.fleet.progress#callback).
    type: path
  seed:
    description: Seed for the order of windows and the arrival times.
    type: int
    default: 1
  keep_in:
    description:
      - Folder on the controller where the module keeps the tuning for later runs, as C(TUNING_CLASS/NAME.yml). Without it, the module writes no file.
      - The module also logs each finished pair of servers there, in a hidden file that it removes at the end. A killed tuning continues after the last pair,
        unless the options, the versions of the model on the host, or the content of its samples changed.
      - If all windows of the noise or of the final comparison are void, the module fails and does not change the file. If not all candidates were
        measured and nothing is kept, the module warns and does not overwrite a file that holds a change.
      - The file holds the changes that beat the plan, the gain with its interval, the host and time of the measurement, and the backend, image and release for
        which it is valid.
      - It also holds the scatter of pairs of servers. A later tuning that measures pairs in the same way uses it as long as it has few pairs of its own.
    type: str
  tuning_class:
    description: Tuning class of the host, from C(ansible_facts.tfserving_capabilities). Required with O(keep_in).
    type: str
  release:
    description: Release of TensorFlow Serving that the file of O(keep_in) records.
    type: str
  repeat:
    description:
      - Whether to repeat only the final comparison, for the change that another host of the class keeps in O(keep_in), instead of a tuning. Needs O(keep_in)
        and O(tuning_class), and ignores O(candidates).
      - If this host shows a gain as well, the module adds it to C(confirmed_on) of the file. Otherwise it warns and removes the change from the file, and no
        host of the class gets it. C(refuted) of the file then holds the change, its gain, and what this host showed.
      - Fails without a change of the file if it can measure nothing, because all windows of the noise or of the comparison are void.
      - Measures nothing if the file holds no change, or if this host measured or confirmed it before.
    type: bool
    default: false
  upgrade:
    description:
      - A running server and the one that would replace it. The module then only compares these two, and fails if the new one must not replace the running one.
        It changes nothing on the host. It ignores O(candidates), and takes only C(protocol) of O(start).
      - Compares images, flags, environment, batching, folders and version policies of the model O(name). Both sides are trial servers, and the running server
        goes on serving. Secret variables are not passed to them.
      - Fails if the running server is shown to be faster by more than O(minimum_gain), if O(metric) of the new one is worse by more than O(allowed_loss), if
        its p99 misses O(objective_p99_ms) by more than that of the running one, if more of its requests fail, or if it cannot be measured.
      - Measures nothing if no server of this name serves the model on the host, or if nothing that it compares differs.
      - Versions in a folder whose newest version the running server serves are already served, so they are not compared.
    type: dict
    suboptions:
      running:
        description: Servers of the host, as M(tfserving.fleet.model_server_info) returns them.
        type: list
        elements: dict
        required: true
      desired:
        description: Server to deploy, C(server) of M(tfserving.fleet.host_plan).
        type: dict
        required: true
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  check_mode:
    description: Predicts what would be measured. Starts no server and measures nothing.
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Measure what TensorFlow Serving gains from oneDNN on this host
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

- name: Measure which optimizations help the digits model on this host
  tfserving.fleet.tuning:
    name: digits
    python: /opt/tfserving/venv/bin/python
    model_directory: /srv/models
    samples: /srv/samples/digits.npz
    metric: accuracy
    allowed_loss: 0.01
    objective_p99_ms: 100
    traffic:
      batch_sizes: {1: 0.9, 16: 0.1}
      rate_rps: 200
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
  description: What was measured, what it gained and what was kept. Null in check mode, with O(upgrade), if O(repeat) has nothing to repeat, if the model
    rejected all requests that were generated without O(samples), or if not all candidates were measured and an earlier tuning was kept.
  returned: always
  type: dict
  contains:
    start:
      description: Configuration at the start.
      type: dict
      sample: {protocol: rest, form: saved_model, batching: null, environment: {}, flags: {}}
    configuration:
      description: Best configuration. Equal to RV(tuning.start) if nothing was kept.
      type: dict
      sample: {protocol: rest, form: tflite_dynamic_range, batching: null, environment: {}, flags: {}}
    repeats:
      description: Host whose final comparison was repeated with O(repeat), otherwise null.
      type: str
      sample: web-1
    steps:
      description:
        - One entry for each candidate, in order, with C(name), C(change), C(kept), C(reason), C(goodput_rps), C(p50_ms), C(p99_ms), C(requests), C(gain),
          C(gain_interval), C(noise_floor), C(accuracy), C(curve_before) and C(curve_after). C(instances) and C(rounds) are the numbers of pairs of servers, and
          of rounds on them, that counted. Values that were not measured are null.
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
      description:
        - The final configuration against the start, with the keys of RV(tuning.steps). C(open_loop) has the latencies of both at one rate below their maximum,
          and C(highest_rps), the highest rates (C(before) and C(after)) of an open loop with a p99 within O(objective_p99_ms), to 5 % of the rate of the closed
          loop. Null without an objective, with O(goal=latency), and if no rate that was measured met it.
      type: dict
      sample: {name: total, kept: true, gain: 1.498, gain_interval: [1.422, 1.576], noise_floor: 0.041, requests: 4880}
    noise:
      description: The start against itself, with the keys of RV(tuning.steps).
      type: dict
      sample: {name: noise, kept: false, gain: 0.004, gain_interval: [-0.033, 0.041], noise_floor: 0.041, requests: 4120}
    scatter:
      description: Sum of squares of the logarithms of ratios of pairs of servers about their means, and its degrees of freedom.
      type: dict
      sample: {squares: 0.021, degrees: 9}
    method:
      description: How the module measured, with the number of void windows and why they were void.
      type: dict
      sample: {loop: closed, concurrency: 8, window_s: 1.0, rounds: 2, instances: 28, confidence: 0.95, minimum_gain: 0.03, void_windows: 0, void_reasons: []}
msg:
  description: What the deployment changes, or how the running server compares with the new one.
  returned: with O(upgrade)
  type: str
  sample: "digits: first deployment on web-1, so there is nothing to compare."
actions:
  description: Measurements that the module would make.
  returned: in check mode
  type: list
  elements: str
  sample: ["Measure clients from REST to gRPC: JSON is slow for lists of numbers; how slow depends on the size of the tensors"]
"""
