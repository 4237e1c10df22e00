#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: load_test
short_description: Measure served models under load, over gRPC or REST
version_added: "0.1.0"
description:
  - Sends Predict requests from the host it runs on to one or several served models, and returns measured windows.
  - A V(closed) loop keeps O(concurrency) requests in flight and shows what a server can do. An V(open) loop sends at O(rate_rps) with Poisson arrivals,
    whatever the server does. It counts latency from the moment a request was due, so a stall shows in every request that it delayed.
  - Several O(targets) are measured in turn, in the order of O(windows), so one run can compare two servers.
  - Before its first window, each target gets load until it gets no faster. This load does not count.
  - The load generator measures itself. A window is void, with the reason, if the generator used more than 80 % of a core; if it was more than 5 ms late with
    more than 1 % of its sends (open loop) or at more than 5 % of its timer ticks (closed loop); or if fewer than 20 requests were due and none failed. Errors
    and delays of a server do not make a window void. They are the result.
  - The module needs no TensorFlow. It encodes the requests before the load begins.
requirements:
  - numpy, protobuf, grpcio and hdrhistogram for the Python interpreter in O(python)
options:
  python:
    description:
      - Python interpreter that runs the load generator.
      - Without it, the module uses the Python interpreter that runs it.
    type: path
  targets:
    description: Served models to send requests to.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the target in O(windows) and in the results.
        type: str
        required: true
      protocol:
        description: Protocol of the requests.
        type: str
        choices: [grpc, rest]
        default: grpc
      address:
        description: Name or address of the server, as seen from the host that sends.
        type: str
        default: 127.0.0.1
      port:
        description: Port of that protocol.
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
  samples:
    description:
      - File of samples on the host that sends, in any format of M(tfserving.fleet.model_conversion), such as a NumPy archive (C(.npz)) with C(inputs.<name>)
        for each input and examples along the first axis, or a warm-up file. The module sends them in turn.
      - Without it and O(warmup), the module generates random inputs for the dtypes and shapes that the server reports. Unknown dimensions are O(batch) (the
        first) and O(dimensions) (the others).
    type: path
  warmup:
    description:
      - Warm-up file on the host that sends. Without O(samples), the module sends the examples of its Predict requests for the signature, if it has any. Of
        requests with different shapes it sends those that are most frequent.
    type: path
  batch:
    description:
      - Number of examples in each request, 1 to 1000000. A list of numbers or a mapping of numbers to weights sends requests of different sizes in random
        order, each size as often as it occurs in the list, or as its weight says, to about 1 in 256.
    type: raw
    default: 1
  dimensions:
    description:
      - Lengths of unknown dimensions, except the first one, of inputs that the module generates, by the name of the input. C(*) stands for all other inputs.
      - Without it, such a dimension is 1.
    type: dict
  values_below:
    description:
      - Limits of the integers that the module generates, by the name of the input, from 1. The values are below the limit. By default they are 0 and 1.
      - For an input that selects rows of an embedding, set its number of rows. RV(tfserving.fleet.saved_model_info#module:saved_model.signatures) shows it.
    type: dict
  loop:
    description: Whether the next request waits for an answer (V(closed)) or for its time (V(open)).
    type: str
    choices: [closed, open]
    default: closed
  concurrency:
    description: Requests in flight in a closed loop, 1 to 512. An open loop ignores it.
    type: int
    default: 1
  rate_rps:
    description:
      - Requests per second in an open loop, 0.01 to 100000. Not allowed for a closed loop.
      - An open loop needs it or O(arrivals). With both, the recorded times are compressed or stretched to this mean rate.
    type: float
  arrivals:
    description:
      - File on the host that sends with recorded arrival times in seconds, one in a line, in order. An open loop sends at these times instead of random ones.
      - Each window starts at a random place of the recording. After its end, the recording starts again.
    type: path
  windows:
    description:
      - Names of targets in the order in which they are measured, one window each.
      - Without it, each target is measured once.
    type: list
    elements: str
  window_s:
    description: Length of one measured window in seconds, 0.1 to 3600.
    type: float
    default: 5
  window_requests:
    description:
      - Minimum number of requests in a window, 0 to 100000. If O(window_s) is too short for them at the rate that a target reached in its warm-up, windows of
        that target become longer, up to O(window_max_s). A window of a closed loop also becomes longer if the target becomes slower meanwhile.
    type: int
    default: 0
  window_max_s:
    description: Longest window in seconds that O(window_requests) may cause, 0.1 to 3600.
    type: float
    default: 120
  warmup_max_s:
    description: Longest time to warm up one target, in seconds, 0 to 600. RV(warmups) says whether it was steady by then.
    type: float
    default: 10
  objective_ms:
    description:
      - Latency objective in milliseconds. Only answers within it count as goodput.
      - Without it, every good answer counts.
    type: float
  deadline_s:
    description: Longest time for one request, in seconds, 0.001 to 600. After that, the module gives the request up and counts it as DEADLINE_EXCEEDED.
    type: float
    default: 10
  cpu_set:
    description:
      - Numbers of the CPUs that the load generator may use. Give it its own CPU that the server does not use.
      - Without it, all CPUs that the module may use.
    type: list
    elements: int
  seed:
    description: Seed of the arrival times. All targets get the same times in the same round.
    type: int
    default: 0
  progress:
    description: File to which the module appends a line after each warm-up and each window.
    type: path
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  check_mode:
    description: Checks the options, returns what would be sent, and sends nothing.
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Measure what a server can do, with eight requests in flight
  tfserving.fleet.load_test:
    targets:
      - {name: digits, port: 8500, model: digits}
    concurrency: 8
    objective_ms: 20

- name: Compare two servers at the same rate, in interleaved windows
  tfserving.fleet.load_test:
    targets:
      - {name: before, protocol: rest, port: 8501, model: digits}
      - {name: after, protocol: grpc, port: 8500, model: digits}
    windows: [before, after, after, before, after, before, before, after]
    loop: open
    rate_rps: 200
    objective_ms: 20
    samples: /var/lib/tfserving/samples/digits.npz
    cpu_set: [1]
  register: compared
"""

RETURN = r"""
windows:
  description: Measured windows in the order in which they ran. Empty in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    target:
      description: Name of the target.
      type: str
      sample: digits
    loop:
      description: Kind of loop.
      type: str
      sample: closed
    concurrency:
      description: Requests in flight. Null in an open loop.
      type: int
      sample: 8
    rate_rps:
      description: Requests due per second. Null in a closed loop.
      type: float
      sample: null
    duration_s:
      description: Length of the window in seconds.
      type: float
      sample: 5.0
    requests:
      description: Number of requests that were due (open loop) or sent (closed loop) in the window. The module waited for the end of each.
      type: int
      sample: 2210
    ok:
      description: Number of requests with a good answer.
      type: int
      sample: 2210
    errors:
      description: Number of the other requests by gRPC status. The module translates REST statuses.
      type: dict
      sample: {UNAVAILABLE: 3}
    throughput_rps:
      description: Good answers that arrived in the window, per second.
      type: float
      sample: 442.0
    goodput_rps:
      description: Good answers within O(objective_ms) that arrived in the window, per second.
      type: float
      sample: 440.2
    latency_ms:
      description:
        - C(mean), C(p50), C(p90), C(p95), C(p99), C(p999) and C(max) of the good answers, in milliseconds. Null if there are too few answers. p50 needs 20, p90
          100, p95 200, p99 1,000 and p999 100,000.
      type: dict
      sample: {mean: 18.1, p50: 17.8, p90: 19.5, p95: 19.9, p99: 24.6, p999: null, max: 31.2}
    histogram:
      description: All latencies of the good answers as an encoded HdrHistogram, in microseconds. Histograms can be added up, percentiles cannot.
      type: str
      sample: HISTFAAAACF42pNpmSzMwMDAxAABzFCaEUoz2X+AsAA/xQJS
    generator:
      description:
        - State of the load generator. C(cpu_fraction) of one core, C(late_fraction) of its sends (open loop) or timer ticks (closed loop) that were more than 5
          ms late, C(max_late_ms).
      type: dict
      sample: {cpu_fraction: 0.08, late_fraction: 0.0, max_late_ms: 0.9}
    requests_from:
      description: Where the requests come from, C(samples), C(warm-up file) or C(signature).
      type: str
      sample: samples
    void:
      description: Why the window says nothing about the server. Null if it is valid.
      type: str
      sample: null
warmups:
  description: Warm-up of each target. Empty in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    target:
      description: Name of the target.
      type: str
      sample: digits
    first_ms:
      description: Time of the very first request in milliseconds, including the connection.
      type: float
      sample: 210.4
    duration_s:
      description: Length of the warm-up in seconds.
      type: float
      sample: 1.4
    requests:
      description: Number of requests in the warm-up.
      type: int
      sample: 590
    steady:
      description: Whether the target had stopped getting faster.
      type: bool
      sample: true
actions:
  description: Load that the module sent, or would send in check mode.
  returned: success
  type: list
  elements: str
  sample: ["Send grpc requests of 1 example to digits (127.0.0.1:8500, model digits) for 1 x 5 s, 8 requests in flight"]
"""

import os
import sys

from ansible_collections.tfserving.fleet.plugins.module_utils._core import program, shell
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._load import generator, load_test


def work(module):
    request = load_test.checked(dict(module.params))
    _check_host(request)
    result = {"windows": [], "warmups": []}
    if not module.check_mode:
        result = program.call(
            generator.__name__,
            request,
            request["python"] or sys.executable,
            timeout_s=load_test.longest_s(request),
            cpu_set=request["cpu_set"],
        )
    return dict(result, changed=False, actions=load_test.described(request))


def _check_host(request):
    mine = os.sched_getaffinity(0)
    for number in request["cpu_set"] or ():
        if number not in mine:
            raise FleetError(
                f"CPU {number} is not available on this host; available: {', '.join(map(str, sorted(mine)))}",
                where="cpu_set",
            )
    for option in ("samples", "warmup", "arrivals"):
        if request[option] and not os.path.isfile(request[option]):
            raise FleetError(f"{request[option]!r} is not a file on this host", where=option)


def main():
    module = shell.FleetModule(
        argument_spec={
            "python": {"type": "path"},
            "targets": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "protocol": {"type": "str", "choices": list(load_test.PROTOCOLS), "default": "grpc"},
                    "address": {"type": "str", "default": "127.0.0.1"},
                    "port": {"type": "int", "required": True},
                    "model": {"type": "str", "required": True},
                    "signature": {"type": "str", "default": "serving_default"},
                },
            },
            "samples": {"type": "path"},
            "warmup": {"type": "path"},
            "batch": {"type": "raw", "default": 1},
            "dimensions": {"type": "dict"},
            "values_below": {"type": "dict"},
            "loop": {"type": "str", "choices": list(load_test.LOOPS), "default": "closed"},
            "concurrency": {"type": "int", "default": 1},
            "rate_rps": {"type": "float"},
            "arrivals": {"type": "path"},
            "windows": {"type": "list", "elements": "str"},
            "window_s": {"type": "float", "default": 5},
            "window_requests": {"type": "int", "default": 0},
            "window_max_s": {"type": "float", "default": 120},
            "warmup_max_s": {"type": "float", "default": 10},
            "objective_ms": {"type": "float"},
            "deadline_s": {"type": "float", "default": 10},
            "cpu_set": {"type": "list", "elements": "int"},
            "seed": {"type": "int", "default": 0},
            "progress": {"type": "path"},
        },
        supports_check_mode=True,
    )
    shell.run(module, lambda: work(module))


if __name__ == "__main__":
    main()
