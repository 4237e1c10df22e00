# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind tfserving.fleet.tuning: start trial servers on the host, measure them side by side, keep what proved faster.

It only orders the collection's modules (model_server, batching_parameters, model_server_check, load_test); what to try comes from the
plan, whether it is kept from _tuning.steps and _tuning.comparison.
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib

import yaml
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.tfserving.fleet.plugins.module_utils._batching import parameters
from ansible_collections.tfserving.fleet.plugins.module_utils._capability import limits
from ansible_collections.tfserving.fleet.plugins.module_utils._core import atomic_files
from ansible_collections.tfserving.fleet.plugins.module_utils._core.decision import Decision
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import LONGEST_S, bounded, one_of, refuse
from ansible_collections.tfserving.fleet.plugins.module_utils._load import histogram, schedule
from ansible_collections.tfserving.fleet.plugins.module_utils._model import task_metrics
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import configuration, tunings
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import steps
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.comparison import (
    MINIMUM_ROUNDS,
    compare,
    look_confidence,
    paired,
    settled,
)
from ansible_collections.tfserving.fleet.plugins.plugin_utils import _output

ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "python": {"type": "path", "required": True},
    "model_directory": {"type": "path", "required": True},
    "samples": {"type": "path", "required": True},
    "signature": {"type": "str", "default": "serving_default"},
    **task_metrics.DECIDING_OPTIONS,
    "start": {"type": "dict", "default": {}},
    "candidates": {"type": "list", "elements": "dict", "required": True},
    "objective_p99_ms": {"type": "float"},
    "concurrency": {"type": "int", "default": 8},
    "window_s": {"type": "float", "default": 1.5},
    "rounds": {"type": "int", "default": 6},
    "looks": {"type": "int", "default": 2},
    "minimum_gain": {"type": "float", "default": 0.03},
    "confidence": {"type": "float", "default": 0.95},
    "cpus": {"type": "str", "required": True},
    "state_directory": {"type": "path", "required": True},
    "backend": {"type": "str", "choices": ["docker", "embedded"], "default": "embedded"},
    "image": {"type": "str"},
    "server": {"type": "dict", "default": {}},
    "progress": {"type": "path"},
    "keep_in": {"type": "str"},
    "tuning_class": {"type": "str"},
    "release": {"type": "str"},
    "seed": {"type": "int", "default": 1},
}
CHECK_ROWS = 32
IDLE_EXIT_S = 600
OPEN_LOOP_SHARE = 0.6  # of the slower side's closed-loop rate: below it queues stay short, above latencies only tell how long one measured


class ActionModule(ActionBase):
    """One host, one model: the steps, then the final configuration against the start."""

    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        """Return tuning: {configuration, steps, total, noise, method}; keep what later runs need as a file."""
        result = super().run(tmp, task_vars)
        try:
            refuse(ARGUMENTS, self._task.args)
            _checked, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
            if arguments["keep_in"] is not None and not (arguments["keep_in"] and arguments["tuning_class"]):
                raise FleetError(
                    "without an inventory file it is not known where tunings are kept",
                    where="keep_in",
                    remedy="Set tfserving_tunings_directory to a folder on the controller.",
                )
            if arguments["keep_in"] and not self._task.check_mode:
                _make_folder(arguments["keep_in"])
            call = self._module_runner(task_vars)
            forms = self._forms(call, arguments)
            if not forms and not self._task.check_mode:
                raise FleetError(
                    f"no published form of the model in {_folder(arguments)}",
                    where=arguments["name"],
                    remedy="Publish it first, with the role tfserving.fleet.tfs_model.",
                )
            trial = Trial(call, arguments, forms)
            if self._task.check_mode:
                missing = (
                    []
                    if forms
                    else [
                        f"{_folder(arguments)} holds no published form of the model; a real run fails unless it does by then."
                    ]
                )
                return dict(result, changed=False, tuning=None, actions=trial.intentions(), warnings=missing)
            with trial:
                found = trial.run()
            kept = (
                _keep(found, arguments, task_vars["inventory_hostname"])
                if arguments["keep_in"]
                else Decision(changed=False)
            )
            return dict(result, tuning=found, **kept.result())
        except FleetError as fault:
            raise AnsibleActionFail(str(fault)) from None

    def _forms(self, call, arguments):
        """{form: base path} of what is published for the model on the host."""
        # The type directory would leave out links to folders.
        found = [
            entry
            for entry in call("ansible.builtin.find", paths=[_folder(arguments)], file_type="any")["files"]
            if entry["isdir"] or entry["islnk"]
        ]
        return {path.rpartition("/")[2]: path for path in sorted(entry["path"] for entry in found)}

    def _module_runner(self, task_vars):
        def call(module, **arguments):
            answer = self._execute_module(module_name=module, module_args=arguments, task_vars=task_vars)
            if answer.get("failed"):
                raise FleetError(answer.get("msg", "failed"), where=module)
            return answer

        return call


class Trial:
    """The servers of one tuning, the order of its steps, and what they showed. Leaving the context stops every server."""

    def __init__(self, call, options, forms):
        for name, minimum, maximum, unit in (
            ("concurrency", 1, 512, "requests in flight"),
            ("window_s", 0.5, 600, "s"),
            ("rounds", MINIMUM_ROUNDS, 100, "rounds"),
            ("looks", 1, 10, "looks"),
            ("minimum_gain", 0, 10, "as a fraction"),
            ("confidence", 0.5, 0.999, "as a fraction"),
            ("allowed_loss", 0, None, "of the metric"),
        ):
            bounded(name, options[name], minimum, maximum, unit)
        if options["objective_p99_ms"] is not None:
            bounded("objective_p99_ms", options["objective_p99_ms"], 0.001, 1000 * LONGEST_S, "ms")
        if (options["backend"] == "docker") != bool(options["image"]):
            raise FleetError("the backend docker needs an image, and no other backend takes one", where="image")
        task_metrics.check_function(options["metric"], options["metric_function"])
        self.call = call
        self.options = options
        self.forms = forms
        self.start = configuration.complete(options["start"])
        if forms:
            one_of("start.form", self.start["form"], sorted(forms))
        try:
            parameters.check(self.start["batching"] or {})
        except FleetError as fault:
            raise FleetError(fault.what, where=f"start.batching.{fault.where}", remedy=fault.remedy) from fault
        self.candidates = steps.candidates(options["candidates"], options["name"], self.start)
        self.server_cpus, self.generator_cpus, self.note = steps.cpu_sets(
            limits.parse_cpu_list(options["cpus"], "cpus")
        )
        self.servers = {}
        self.voids = []
        self.examples = None
        self.noise_pairs = ()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for key in list(self.servers):
            self._stop(key)

    def intentions(self):
        """What run() would try, as sentences, for check mode."""
        return [
            f"Measure {candidate['name']}: {candidate['reason'] or ''}".rstrip(": ") for candidate in self.candidates
        ]

    def run(self):
        """All steps in order, each against the best so far."""
        before = self._accuracy(self.start)
        noise = self._measure_noise(before)
        best, found = self.start, []
        for number, candidate in enumerate(self.candidates):
            tried, step = self._try(best, candidate, before, seed=number + 1)
            found.append(step)
            if step["kept"]:
                self._stop_unless(best, {steps.server_key(self.start), steps.server_key(tried)})
                best = tried
            else:
                self._stop_unless(tried, {steps.server_key(self.start), steps.server_key(best)})
            self._say(f"{step['name']}: {'kept' if step['kept'] else 'not kept'}: {step['reason']}")
        total = self._measure_total(best, before)
        return {
            "model": self.options["name"],
            "backend": self.options["backend"],
            "image": self.options["image"],
            "start": self.start,
            "configuration": best,
            "steps": found,
            "total": total,
            "noise": noise,
            "method": self._method(),
        }

    def _measure_noise(self, accuracy):
        """The start against itself on a second server: what noise alone shows."""
        again = "again"
        sides = {
            "baseline": self._target(self.start, "baseline"),
            "candidate": self._target(self.start, "candidate", again),
        }
        comparison, windows = self._compare(sides, seed=0, looks=1)
        self._stop(steps.server_key(self.start) + again)
        self.noise_pairs = paired(windows, "baseline", "candidate")
        figures = _merged(windows, "candidate")
        self._say(f"noise: the start against itself showed {comparison.reason}")
        return steps.step(
            "baseline against itself",
            {},
            False,
            comparison.reason,
            comparison,
            figures,
            {"before": accuracy, "after": accuracy},
        )

    def _try(self, best, candidate, accuracy_before, seed):
        """(configuration, step) of one candidate against the best so far."""
        name, change = candidate["name"], candidate["change"]
        tried = configuration.changed(best, change)
        if tried == best:
            return best, steps.step(
                name,
                change,
                False,
                "this is what runs already",
                None,
                None,
                {"before": accuracy_before, "after": accuracy_before},
            )
        if tried["form"] not in self.forms:
            reason = f"there is no {tried['form']} form of the model: its conversion was refused or not asked for"
            return best, steps.step(name, change, False, reason, None, None, {"before": accuracy_before, "after": None})
        self._say(f"{name}: starting it beside the best so far")
        try:
            sides = {"baseline": self._target(best, "baseline"), "candidate": self._target(tried, "candidate")}
            accuracy = {"before": accuracy_before, "after": self._accuracy(tried)}
            comparison, windows = self._compare(sides, seed)
        except FleetError as fault:
            return tried, steps.step(
                name,
                change,
                False,
                f"it could not be measured: {fault}",
                None,
                None,
                {"before": accuracy_before, "after": None},
            )
        figures, old = _merged(windows, "candidate"), _merged(windows, "baseline")
        latency = {"before": old and old["p99_ms"], "after": figures and figures["p99_ms"]}
        kept, reason = steps.judge(
            comparison,
            accuracy,
            self.options["allowed_loss"],
            latency,
            self.options["objective_p99_ms"],
            self.options["metric"] or "accuracy",
            self.options["metric_goal"],
        )
        return tried, steps.step(name, change, kept, reason, comparison, figures, accuracy, **_against(old, figures))

    def _measure_total(self, best, accuracy_before):
        """The final configuration against the start: closed loop for the gain, open loop at one rate for the latencies."""
        same = best == self.start
        suffix = "again" if same else ""
        sides = {"baseline": self._target(self.start, "baseline"), "candidate": self._target(best, "candidate", suffix)}
        self._say("total: the final configuration against the start")
        comparison, windows = self._compare(sides, seed=len(self.candidates) + 1)
        accuracy = {"before": accuracy_before, "after": accuracy_before if same else self._accuracy(best)}
        figures, old = _merged(windows, "candidate"), _merged(windows, "baseline")
        reason = "nothing beat the start by more than noise: the baseline is kept" if same else comparison.reason
        total = steps.step(
            "total", {}, not same, reason, comparison, figures, accuracy, open_loop=None, **_against(old, figures)
        )
        if old and figures:
            total["open_loop"] = self._measure_open_loop(
                sides, OPEN_LOOP_SHARE * min(old["goodput_rps"], figures["goodput_rps"])
            )
        return total

    def _measure_open_loop(self, sides, rate_rps):
        if rate_rps < 1:
            return None
        seconds = max(self.options["window_s"], min(10.0, 1200 / rate_rps))
        windows = self._load(
            sides, list(sides), loop="open", rate_rps=rate_rps, window_s=seconds, seed=self.options["seed"]
        )
        merged = {side: _merged(windows, side) for side in sides}
        return {
            "rate_rps": rate_rps,
            **{key: merged[side] for key, side in (("before", "baseline"), ("after", "candidate"))},
        }

    def _compare(self, sides, seed, looks=None):
        """(Comparison, windows): rounds until the verdict is settled, at most looks (or options.looks) times options.rounds."""
        windows = []
        confidence = look_confidence(self.options["confidence"], self.options["looks"])
        for look in range(looks or self.options["looks"]):
            order = schedule.interleaved(
                list(sides), self.options["rounds"], self.options["seed"] * 1000 + seed * 10 + look
            )
            windows += self._load(
                sides,
                order,
                loop="closed",
                concurrency=self.options["concurrency"],
                window_s=self.options["window_s"],
                seed=seed,
            )
            pairs = paired(windows, "baseline", "candidate")
            comparison = compare(pairs, self.noise_pairs, self.options["minimum_gain"], confidence)
            if settled(comparison):
                break
        self.voids += [window["void"] for window in windows if window["void"]]
        return comparison, windows

    def _load(self, sides, order, **load):
        return self.call(
            "tfserving.fleet.load_test",
            python=self.options["python"],
            targets=list(sides.values()),
            samples=self.options["samples"],
            windows=order,
            objective_ms=self.options["objective_p99_ms"],
            cpu_set=self.generator_cpus,
            progress=self.options["progress"],
            **load,
        )["windows"]

    def _accuracy(self, of):
        if not self.options["metric"]:
            return None
        rows = min(CHECK_ROWS, (of["batching"] or {}).get("max_batch_size") or CHECK_ROWS)
        checked = self.call(
            "tfserving.fleet.model_server_check",
            python=self.options["python"],
            target=self._target(of, "check"),
            samples=self.options["samples"],
            metric=self.options["metric"],
            metric_output=self.options["metric_output"],
            metric_function=self.options["metric_function"],
            batch=rows,
        )
        self.examples = checked["examples"]
        return checked["metric"]["value"]

    def _target(self, of, name, suffix=""):
        server = self._server(of, suffix)
        return {
            "name": name,
            "protocol": of["protocol"],
            "address": server["address"],
            "port": server[f"{of['protocol']}_port"],
            "model": self.options["name"],
            "signature": self.options["signature"],
        }

    def _server(self, of, suffix=""):
        """The trial server of a configuration, started when it is not there yet."""
        key = steps.server_key(of) + suffix
        if key not in self.servers:
            name = f"{self.options['name']}-trial-{key}"
            batching = None
            self.servers[key] = {"name": name, "batching": None}
            if of["batching"] is not None:
                batching = self.servers[key]["batching"] = f"{self.options['state_directory']}/{name}.batching.pbtxt"
                self.call("tfserving.fleet.batching_parameters", path=batching, **of["batching"])
            self.servers[key].update(
                self._call_server(
                    name,
                    "started",
                    model_name=self.options["name"],
                    model_base_path=self.forms[of["form"]],
                    grpc_port=0,
                    rest_port=0,
                    flags=of["flags"],
                    environment=of["environment"],
                    cpu_set=limits.format_cpu_list(self.server_cpus) if self.server_cpus else None,
                    batching_parameters_file=batching,
                )["server"]
            )
        return self.servers[key]

    def _call_server(self, name, state, **described):
        if self.options["backend"] == "docker":
            by = {"image": self.options["image"], "restart_policy": "no"}
        else:
            by = {"python": self.options["python"], "idle_exit_s": IDLE_EXIT_S}
        return self.call(
            "tfserving.fleet.model_server",
            name=name,
            state=state,
            backend=self.options["backend"],
            state_directory=self.options["state_directory"],
            **{**by, **self.options["server"], **described},
        )

    def _stop_unless(self, of, needed):
        if steps.server_key(of) not in needed:
            self._stop(steps.server_key(of))

    def _stop(self, key):
        server = self.servers.pop(key, None)
        if server:
            self._call_server(server["name"], "absent")
            if server["batching"]:
                self.call("tfserving.fleet.batching_parameters", path=server["batching"], state="absent")

    def _method(self):
        keys = (
            "concurrency",
            "window_s",
            "rounds",
            "looks",
            "minimum_gain",
            "confidence",
            "objective_p99_ms",
            "allowed_loss",
            "metric",
            "seed",
        )
        return dict(
            {key: self.options[key] for key in keys},
            loop="closed",
            examples=self.examples,
            server_cpus=self.server_cpus,
            generator_cpus=self.generator_cpus,
            void_windows=len(self.voids),
            void_reasons=sorted(set(self.voids)),
            note=self.note,
        )

    def _say(self, text):
        _output.say(f"  {self.options['name']}: {text}")


def _make_folder(path):
    """Make the folder of tunings before anything is measured; raise FleetError where nothing can be written there."""
    try:
        os.makedirs(os.path.expanduser(path), exist_ok=True)
    except OSError as fault:
        raise FleetError(f"{path} cannot be made: {fault.strerror}", where="keep_in") from fault
    if not os.access(os.path.expanduser(path), os.W_OK):
        raise FleetError(f"{path} cannot be written", where="keep_in")


def _keep(found, arguments, host):
    """Write what the tuning keeps for later runs; return the Decision."""
    at = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    record = tunings.kept(found, arguments["tuning_class"], arguments["release"], host, at)
    path = tunings.path(os.path.abspath(os.path.expanduser(arguments["keep_in"])), record.tuning_class, record.model)
    after = f"# Measured by tfserving.fleet.tune, read by every later plan and deployment. Keep it in version control.\n---\n{_yaml(record)}"
    before = pathlib.Path(path).read_text(encoding="utf-8") if os.path.exists(path) else ""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        atomic_files.write_file(path, after.encode())
    except OSError as fault:
        raise FleetError(f"cannot write the tuning: {fault.strerror}", where=path) from fault
    return Decision(changed=before != after, before=before, after=after, header=path, actions=(f"Write {path}",))


def _yaml(record):
    return yaml.safe_dump(json.loads(json.dumps(record.as_dict())), sort_keys=False, width=120)


def _folder(arguments):
    return f"{arguments['model_directory']}/{arguments['name']}"


def _merged(windows, name):
    """The figures of one target's windows that are not void, or None: {goodput_rps, p50_ms, p99_ms, requests, curve}."""
    mine = [window for window in windows if window["target"] == name and not window["void"]]
    return histogram.merged(mine) if mine else None


def _against(old, figures):
    """What a step tells beside its own figures: the baseline's figures and both curves."""
    return {
        "before": old and {key: value for key, value in old.items() if key != "curve"},
        "curve_before": old and old["curve"],
        "curve_after": figures and figures["curve"],
    }
