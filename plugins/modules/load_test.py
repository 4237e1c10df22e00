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
  - Sends Predict requests from the host it runs on to one or several served models and returns measured windows.
  - A V(closed) loop keeps O(concurrency) requests in flight and shows what a server can do. An V(open) loop sends at O(rate_rps), with Poisson
    arrivals and whatever the server does, and counts latency from the moment a request was due, so that a stall shows in every request it delayed.
  - Several O(targets) are measured in turn in the order of O(windows), so that two servers can be compared within one run.
  - Before its first window each target gets load until it gets no faster; nothing of that is counted.
  - The load generator measures itself. A window is void, with the reason, when the generator used more than 80 % of a core, when it was more than 5 ms late
    with more than 1 % of its sends (open loop) or at more than 5 % of its moments (closed loop), or when fewer than 20 requests were due and none failed.
    Otherwise a server's errors and delays void nothing, they are the result.
  - No TensorFlow is needed, and the requests are encoded before the load begins.
requirements:
  - numpy, protobuf, grpcio and hdrhistogram for the Python that O(python) names
options:
  python:
    description:
      - Python interpreter that runs the load generator.
      - It defaults to the one that runs this module.
    type: path
  targets:
    description: Served models to send to.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the target, by which O(windows) and the results call it.
        type: str
        required: true
      protocol:
        description: How to talk to it.
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
        description: Signature to call.
        type: str
        default: serving_default
  samples:
    description:
      - Path, on the host that sends, of a NumPy archive (C(.npz)) with C(inputs.<name>) for each input, first axis examples. They are sent in turn.
      - Without it inputs are made up at random from the dtypes and shapes that the server tells; unknown dimensions are O(batch) (the first) and 1.
    type: path
  batch:
    description: Examples in each request.
    type: int
    default: 1
  loop:
    description: Whether the next request waits for an answer (V(closed)) or for its time (V(open)).
    type: str
    choices: [closed, open]
    default: closed
  concurrency:
    description: Requests in flight in a closed loop, 1 to 512. An open loop has no use for it.
    type: int
    default: 1
  rate_rps:
    description: Requests a second in an open loop, 0.01 to 100000. Required there and refused elsewhere.
    type: float
  windows:
    description:
      - Names of targets in the order in which they are measured, one window each.
      - It defaults to each target once.
    type: list
    elements: str
  window_s:
    description: Length of a window in seconds, 0.1 to 3600.
    type: float
    default: 5
  window_requests:
    description:
      - Requests that a window should hold, 0 to 100000. Where O(window_s) is too short for them, by the rate that a target showed while it
        warmed up, the windows of that target are longer, up to O(window_max_s).
    type: int
    default: 0
  window_max_s:
    description: The longest window in seconds that O(window_requests) may lead to, 0.1 to 3600.
    type: float
    default: 120
  warmup_max_s:
    description: The most seconds that warming up one target may take, 0 to 600. Whether it was steady by then is in the result.
    type: float
    default: 10
  objective_ms:
    description:
      - Latency in milliseconds that an answer must keep to count as goodput.
      - Without it every good answer counts.
    type: float
  deadline_s:
    description: Seconds after which a request is given up and counted as DEADLINE_EXCEEDED, 0.001 to 600.
    type: float
    default: 10
  cpu_set:
    description:
      - Numbers of the CPUs that the load generator may use. Give it one of its own, which the server does not use.
      - It defaults to all CPUs that the module may use.
    type: list
    elements: int
  seed:
    description: Seed of the arrival times. All targets get the same times in the same round.
    type: int
    default: 0
  progress:
    description: Path of a file to append a line to after each warm-up and window.
    type: path
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  check_mode:
    description: Checks the options, says what would be sent and sends nothing.
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: What a server can do, with eight requests in flight
  tfserving.fleet.load_test:
    targets:
      - {name: digits, port: 8500, model: digits}
    concurrency: 8
    objective_ms: 20

- name: Compare two servers at a rate, interleaved
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
  description: The measured windows in the order in which they ran. In check mode the list is empty.
  returned: success
  type: list
  elements: dict
  contains:
    target:
      description: Name of the target.
      type: str
      sample: digits
    loop:
      description: The kind of loop.
      type: str
      sample: closed
    concurrency:
      description: Requests in flight; null in an open loop.
      type: int
      sample: 8
    rate_rps:
      description: Requests due a second; null in a closed loop.
      type: float
      sample: null
    duration_s:
      description: Length of the window.
      type: float
      sample: 5.0
    requests:
      description: Requests that were due (open) or sent (closed) in the window. Each was awaited to its end.
      type: int
      sample: 2210
    ok:
      description: Those of them that were answered well.
      type: int
      sample: 2210
    errors:
      description: Counts of the others by the name of their gRPC status; REST's are translated.
      type: dict
      sample: {UNAVAILABLE: 3}
    throughput_rps:
      description: Good answers that arrived within the window, a second.
      type: float
      sample: 442.0
    goodput_rps:
      description: Those of them within O(objective_ms), a second.
      type: float
      sample: 440.2
    latency_ms:
      description: >-
        C(mean), C(p50), C(p90), C(p95), C(p99), C(p999) and C(max) of the good answers. Null where there are too few of them: p50 needs 20,
        p90 100, p95 200, p99 1,000 and p999 100,000.
      type: dict
      sample: {mean: 18.1, p50: 17.8, p90: 19.5, p95: 19.9, p99: 24.6, p999: null, max: 31.2}
    histogram:
      description: All their latencies as an encoded HdrHistogram, in microseconds. Histograms can be added up, percentiles cannot.
      type: str
      sample: HISTFAAAACF42pNpmSzMwMDAxAABzFCaEUoz2X+AsAA/xQJS
    generator:
      description: >-
        The load generator's health: C(cpu_fraction) of one core, C(late_fraction) of its sends (open) or of its timer's ticks (closed) that were more than
        5 ms late, C(max_late_ms).
      type: dict
      sample: {cpu_fraction: 0.08, late_fraction: 0.0, max_late_ms: 0.9}
    void:
      description: Why the window says nothing about the server, or null.
      type: str
      sample: null
warmups:
  description: How each target was warmed up. In check mode the list is empty.
  returned: success
  type: list
  elements: dict
  contains:
    target:
      description: Name of the target.
      type: str
      sample: digits
    first_ms:
      description: Milliseconds that the very first request took, connecting included.
      type: float
      sample: 210.4
    duration_s:
      description: Seconds of load.
      type: float
      sample: 1.4
    requests:
      description: Requests sent meanwhile.
      type: int
      sample: 590
    steady:
      description: Whether the target had stopped getting faster.
      type: bool
      sample: true
actions:
  description: What was, or in check mode would be, sent.
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
                f"CPU {number} is not among those this host offers: {', '.join(map(str, sorted(mine)))}",
                where="cpu_set",
            )
    if request["samples"] and not os.path.isfile(request["samples"]):
        raise FleetError(f"{request['samples']} is no file on this host", where="samples")


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
            "batch": {"type": "int", "default": 1},
            "loop": {"type": "str", "choices": list(load_test.LOOPS), "default": "closed"},
            "concurrency": {"type": "int", "default": 1},
            "rate_rps": {"type": "float"},
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
