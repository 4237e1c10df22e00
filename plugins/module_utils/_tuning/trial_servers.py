# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers of one tuning on its host: start, load, check, and stop them."""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._capability import limits
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import checks
from ansible_collections.tfserving.fleet.plugins.module_utils._model import manifest
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import saved_structure, server_options
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.trial_configuration import Configuration
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.variants import SAVED_MODEL
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning import steps
from ansible_collections.tfserving.fleet.plugins.module_utils._tuning.traffic import traffic

CHECK_ROWS = 32
RUNNING = "running"  # the variant of a server that is compared with the one that would replace it
IDLE_EXIT_S = 600
_WINDOWS = ("window_s", "window_requests", "window_max_s")  # options that load() can replace
DEADLINE_S = 60.0  # of a request: with a slow model, requests in flight wait for each other
_KEY = re.compile(r"-trial-([0-9a-f]{8}(?:again)?)$")  # of server_key(), and the suffix of a second server
_FRAGILE = checks.closed(checks.MALFORMED, "").what


def server_name(model: str, key: str) -> str:
    """Return the name of a trial server, valid for any name of a model."""
    legal = re.sub("[^A-Za-z0-9_.-]", "-", model).lstrip("_.-") or "model"
    end = f"-trial-{key}"
    return legal[: server_options.LONGEST_NAME - len(end)] + end


def of_model(name: str, model: str) -> bool:
    """Return whether a server has the name of a trial server of a model."""
    found = _KEY.search(name)
    return bool(found and name == server_name(model, found[1]))


class TrialServers:
    """The servers of one tuning. Leaving the context stops all of them.

    call: runs a module on the host and returns its result, or raises FleetError. variants: {variant: base path} of the model.
    """

    def __init__(self, call: Callable[..., Any], options: Mapping[str, Any], variants: Mapping[str, str]) -> None:
        self._call, self._options, self._variants = call, options, variants
        self.server_cpus, self.generator_cpus, self.note = steps.cpu_sets(
            limits.parse_cpu_list(options["cpus"], "cpus")
        )
        self.examples: int | None = None  # that the accuracy was computed on
        self.served: dict[str, dict[str, Any]] = {}  # {variant: options of model_server, instead of the model's folder}
        self._running: dict[str, dict[str, Any]] = {}
        self._fragile: dict[str, str] = {}

    def __enter__(self) -> TrialServers:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop all servers, so that both sides of the next comparison start fresh ones. One that could not be stopped is tried again the next time."""
        faults = []
        for key, server in list(self._running.items()):
            server.pop("address", None)  # so that nothing uses it any more
            try:
                self._model_server(server["name"], "absent")
                if server["batching"]:
                    self._call("tfserving.fleet.batching_parameters", path=server["batching"], state="absent")
            except FleetError as fault:
                faults.append(fault)
            else:
                del self._running[key]
        if faults:
            raise faults[0]

    def remove_left(self) -> None:
        """Remove the trial servers of the model that a killed tuning left on the host: a container never ends by itself, and takes CPUs from the others."""
        folder = self._options["state_directory"]
        entries = self._call("ansible.builtin.find", paths=[f"{folder}/servers"], file_type="directory")["files"]
        # Without the backend, which can be another one than before, and its options.
        where = {key: value for key, value in self._options["server"].items() if key == "engine_socket"}
        for name in sorted(entry["path"].rpartition("/")[2] for entry in entries):
            if of_model(name, self._options["name"]):
                self._call("tfserving.fleet.model_server", name=name, state="absent", state_directory=folder, **where)
                self._call("tfserving.fleet.batching_parameters", path=self._batching_path(name), state="absent")

    def _batching_path(self, name: str) -> str:
        return f"{self._options['state_directory']}/{name}.batching.pbtxt"

    def learned(self) -> dict[str, Any]:
        """Return what is known about the servers besides their windows, as JSON for remember()."""
        return {"fragile": self._fragile, "examples": self.examples}

    def remember(self, learned: Mapping[str, Any]) -> None:
        """Take over what an earlier run of this tuning learned, which does not start these servers again."""
        self._fragile.update(learned["fragile"])
        self.examples = learned["examples"] if self.examples is None else self.examples

    def target(self, of: Configuration, name: str, suffix: str = "") -> dict[str, Any]:
        """Return a configuration's server as a target of the load generator. suffix: names a second server of the same configuration."""
        server = self._server(of, suffix)
        return {
            "name": name,
            "protocol": of["protocol"],
            "address": server["address"],
            "port": server[f"{of['protocol']}_port"],
            "model": self._options["name"],
            "signature": self._options["signature"],
        }

    def fragile(self, of: Configuration) -> str | None:
        """Return which malformed request ends the servers of a configuration, as a clause, or None."""
        return self._fragile.get(steps.server_key(of))

    def load(self, sides: Mapping[str, dict[str, Any]], order: Sequence[str], **load: Any) -> list[dict[str, Any]]:
        """Return the windows that the load generator measured, in this order of targets."""
        found: list[dict[str, Any]] = self._call(
            "tfserving.fleet.load_test",
            python=self._options["python"],
            targets=list(sides.values()),
            samples=self._options["samples"],
            warmup=self._warmup,
            values_below=self._values_below,
            windows=order,
            deadline_s=DEADLINE_S,
            objective_ms=self._options["objective_p99_ms"],
            cpu_set=self.generator_cpus,
            progress=self._options["progress"],
            **{**{key: self._options[key] for key in _WINDOWS}, **load},
        )["windows"]
        return found

    def accuracy(self, of: Configuration, target: Mapping[str, Any]) -> float | None:
        """Return the metric of a configuration from its server's answers, or None if no metric is set."""
        if not self._options["metric"]:
            return None
        checked = self._call(
            "tfserving.fleet.model_server_check",
            python=self._options["python"],
            target=dict(target, name="check"),
            samples=self._options["samples"],
            metric=self._options["metric"],
            metric_output=self._options["metric_output"],
            metric_function=self._options["metric_function"],
            batch=min(CHECK_ROWS, (of["batching"] or {}).get("max_batch_size") or CHECK_ROWS),
        )
        self.examples = checked["examples"]
        found: float = checked["metric"]["value"]
        return found

    @property
    def _base(self) -> str | None:
        """Return the folder of the versions that describe the requests, or None."""
        return self._variants.get(SAVED_MODEL) or self._variants.get(RUNNING)

    @functools.cached_property
    def _warmup(self) -> str | None:
        """Return the warm-up file of the newest version of the model, if the load needs it."""
        if self._options["samples"] or not self._base or traffic(self._options["traffic"]).dimensions:
            return None
        found = self._call(
            "ansible.builtin.find",
            paths=[self._base],
            patterns=[posixpath.basename(manifest.WARMUP)],
            recurse=True,
            follow=True,
        )
        return max((one["path"] for one in found["files"]), key=lambda path: (len(path), path), default=None)

    @functools.cached_property
    def _values_below(self) -> dict[str, int]:
        """Return the limits of generated integers, {input: largest + 1}, for inputs that select rows of a table of the model."""
        if self._options["samples"] or not self._base:
            return {}
        found = saved_structure.described(self._call, self._base) or {"signatures": {}}
        inputs = found["signatures"].get(self._options["signature"], {"inputs": {}})["inputs"]
        return {name: tensor["values_below"] for name, tensor in inputs.items() if "values_below" in tensor}

    def _server(self, of: Configuration, suffix: str) -> dict[str, Any]:
        """Return the server of a configuration, and start it if necessary."""
        key = steps.server_key(of) + suffix
        if "address" in self._running.get(key, {}):
            return self._running[key]
        if of["form"] not in self._variants:
            raise FleetError(
                f"there is no variant {of['form']!r} of the model on this host",
                where=self._options["name"],
                remedy="Publish it there, with the role tfserving.fleet.tfs_model.",
            )
        name = server_name(self._options["name"], key)
        self._running[key] = {"name": name, "batching": None}
        if of["batching"] is not None:
            path = self._running[key]["batching"] = self._batching_path(name)
            self._call("tfserving.fleet.batching_parameters", path=path, **of["batching"])
        folder = {"model_name": self._options["name"], "model_base_path": self._variants[of["form"]]}
        described = {
            **self.served.get(of["form"], folder),
            "grpc_port": 0,
            "rest_port": 0,
            "flags": of["flags"],
            "environment": of["environment"],
            "cpu_set": limits.format_cpu_list(self.server_cpus) if self.server_cpus else None,
            "batching_parameters_file": self._running[key]["batching"],
        }
        self._running[key].update(self._started(steps.server_key(of), name, described)["server"])
        return self._running[key]

    def _started(self, key: str, name: str, described: Mapping[str, Any]) -> Any:
        """Start a server and return the result. One that a malformed request ends is measured all the same, and recorded as fragile."""
        if key in self._fragile:
            return self._model_server(name, "started", accept_fragile=True, **described)
        try:
            return self._model_server(name, "started", **described)
        except FleetError as fault:
            what = getattr(fault.__cause__, "what", "")
            if not what.startswith(_FRAGILE):
                raise
            self._fragile[key] = what[len(_FRAGILE) :].partition("; it says")[0]
            return self._model_server(name, "started", accept_fragile=True, **described)

    def _model_server(self, name: str, state: str, **described: Any) -> Any:
        if self._options["backend"] == "docker":
            by = {"image": self._options["image"], "restart_policy": "no"}
        else:
            by = {"python": self._options["python"], "idle_exit_s": IDLE_EXIT_S}
        return self._call(
            "tfserving.fleet.model_server",
            name=name,
            state=state,
            backend=self._options["backend"],
            state_directory=self._options["state_directory"],
            **{**by, **self._options["server"], **described},
        )
