# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What detection costs: capability_facts beside ansible.builtin.ping and ansible.builtin.setup, over local hosts, as ratios to ping.

One run of ansible-playbook interleaves the three, several rounds, each round in another order; facts are cleared between, because they tax what
follows. A task's cost is the time from its start to the next one's, the clearing included. Wall time is what a user waits, processor time
(controller and local hosts together) is what remains where other work disturbs the machine. Ends with status 1 when capability_facts costs more
than it may.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

MODULES = ("ansible.builtin.ping", "ansible.builtin.setup", "tfserving.fleet.capability_facts")
ALLOWED = 1.2

CALLBACK = """
import json, os, resource, time
from ansible.plugins.callback import CallbackBase

class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, "aggregate", "clock"

    def __init__(self):
        super().__init__()
        self.stream = open(os.environ["CLOCK"], "a")

    def mark(self, name):
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        self.stream.write(json.dumps([name, time.monotonic(), sum(one.ru_utime + one.ru_stime for one in used)]) + "\\n")
        self.stream.flush()

    def v2_playbook_on_task_start(self, task, is_conditional):
        self.mark(task.get_name())

    def v2_playbook_on_stats(self, stats):
        self.mark("end")
        self.stream.write(json.dumps(["failed", sorted({**stats.failures, **stats.dark}), 0]) + "\\n")
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--forks", type=int, default=4 * len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        marks = run(Path(directory), options)
    wall, processor = costs(marks)
    print(
        f"{options.hosts} local hosts, {options.rounds} rounds, {options.forks} forks, {len(os.sched_getaffinity(0))} CPUs; the first round is not counted"
    )
    print(f"{'module':34}{'ms a host':>12}{'CPU ms a host':>16}{'wall / ping':>24}{'CPU / ping':>24}")
    for name in MODULES:
        print(
            f"{name:34}{1000 * statistics.median(wall[name]) / options.hosts:12.1f}{1000 * statistics.median(processor[name]) / options.hosts:16.1f}"
            f"{ratio(wall, name)[1]:>24}{ratio(processor, name)[1]:>24}"
        )
    cost = ratio(processor, MODULES[2])[0]
    print(f"capability_facts costs {cost:.2f} times ping in processor time; allowed {ALLOWED}")
    return int(cost > ALLOWED)


def run(directory, options):
    """The marks of one run: [task name, wall clock in s, processor time in s]."""
    (directory / "callback").mkdir()
    (directory / "callback" / "clock.py").write_text(CALLBACK)
    (directory / "hosts.ini").write_text(
        f"host[1:{options.hosts}] ansible_connection=local ansible_python_interpreter={sys.executable}\n"
    )
    orders = itertools.cycle(itertools.permutations(MODULES))
    tasks = [
        task
        for _round in range(options.rounds + 1)
        for module in next(orders)
        for task in ({"name": module, module: None}, {"name": "clear", "ansible.builtin.meta": "clear_facts"})
    ]
    (directory / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("ANSIBLE_") or name == "ANSIBLE_COLLECTIONS_PATH"
    }
    environment.update(
        ANSIBLE_CALLBACK_PLUGINS=str(directory / "callback"),
        ANSIBLE_CALLBACKS_ENABLED="clock",
        CLOCK=str(directory / "marks"),
    )
    program = Path(sys.executable).parent / "ansible-playbook"
    subprocess.run(
        [program, "-i", "hosts.ini", "-f", str(options.forks), "play.yml"],
        cwd=directory,
        env=environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    marks = [json.loads(line) for line in (directory / "marks").read_text().splitlines()]
    *marks, (_name, failed, _zero) = marks
    if failed:
        sys.exit(f"these hosts failed, so nothing was measured: {failed}")
    return marks


def costs(marks):
    """Wall and processor seconds of each module in each round but the first, which fills the caches."""
    wall, processor = ({name: [] for name in MODULES} for _kind in range(2))
    for (name, begun, used), (_next, ended, used_then) in zip(marks, marks[1:]):
        if name in MODULES:
            wall[name].append(ended - begun)
            processor[name].append(used_then - used)
    return tuple({name: values[1:] for name, values in kind.items()} for kind in (wall, processor))


def ratio(cost, name):
    """The median over the rounds of the cost as a ratio to ping's in the same round, and the same with its spread as text."""
    ratios = [one / ping for one, ping in zip(cost[name], cost[MODULES[0]])]
    middle = statistics.median(ratios)
    return middle, f"{middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    sys.exit(main())
