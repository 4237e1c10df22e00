# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the checks that send requests to a server: every wanted version is AVAILABLE, answers are correct, and the server survives."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import (
    checks,
    container,
    failure_diagnosis,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._model import task_metrics
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import (
    agreement,
    grpc_api,
    stdlib_client,
    tensors,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import signature as signatures
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.grpc_api import ServerFault, VersionStatus
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import Signature
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import endings

_ANY = "0.0.0.0"
DEADLINE_S = 30.0
_DYING_S, _POLL_S = 30.0, 0.1
# How long a request without rows may wait in a batching queue, and how long it is alone there.
_LONE_S, _ALONE_S = 2.0, 0.2


@dataclass(frozen=True)
class Place:
    """The ports of a server. batching: whether it batches requests. rest_port: None if REST is not published."""

    server: stdlib_client.Server
    batching: bool = False
    rest_port: int | None = None


@dataclass(frozen=True)
class Judged:
    """A task metric by which a converted variant was accepted.

    metric: {name, allowed_loss, goal}. inputs: {name: Tensor} and labels: Tensor or None, of the included examples.
    before, after: its values over them, of the source and of the variant where it was converted. measure: returns its
    value for ({output: Tensor}, labels).
    """

    metric: Mapping[str, Any]
    inputs: dict[str, tensors.Tensor]
    labels: tensors.Tensor | None
    before: float
    after: float
    measure: Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Model:
    """The checks of one model.

    versions: wanted numbers. most: examples in one request. inputs, reference: {name: Tensor} or None. tolerance: how
    much an answer may differ from the reference; a number, or one for each output. judged: how a converted variant was
    accepted, or None.
    """

    name: str
    versions: Sequence[int]
    labels: Mapping[str, int]
    signature: str
    most: int
    inputs: dict[str, tensors.Tensor] | None
    reference: dict[str, tensors.Tensor] | None
    tolerance: float | dict[str, float]
    judged: Judged | None = None


def place(published: Mapping[int, tuple[str, int]], arguments: Sequence[str]) -> Place:
    """Return the Place of a container with its published ports. arguments: its command line."""
    address, port = published[container.GRPC_PORT]
    return Place(
        stdlib_client.Server(
            "127.0.0.1" if address in ("", _ANY, "::") else address,
            port,
            DEADLINE_S,
            any(word.startswith("--ssl_config_file=") for word in arguments),
        ),
        "--enable_batching=true" in arguments,
        published.get(container.REST_PORT, (address, None))[1],
    )


def speaks(found: Place) -> bool:
    """Return whether gRPC answers there, even with an error."""
    try:
        found.server.status("-")
    except ServerFault as fault:
        return fault.code not in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
    return True


def lacks_rest(found: Place) -> bool:
    """Return whether REST is published but does not answer HTTP. A connection proves nothing, because the engine's proxy always accepts it."""
    return found.rest_port is not None and stdlib_client.page(found.server.address, found.rest_port, "/") is None


class Questions:
    """The checks of a server's models.

    timeout_s: how long versions may take to load. before: the signatures of the current server, {model: {...}}. judged:
    {model: {metric, examples, source, converted, served}} of the computed metrics.
    """

    def __init__(
        self,
        models: Sequence[Model],
        timeout_s: float,
        accept_fragile: bool = False,
        accept_signature: bool = False,
        before: Mapping[str, Mapping[str, Signature]] | None = None,
    ) -> None:
        self._models, self._timeout_s, self._before = models, timeout_s, before or {}
        self._accept_fragile, self._accept_signature = accept_fragile, accept_signature
        self.judged: dict[str, Any] = {}

    def first(self, found: Place, with_labels: bool) -> dict[str, Any]:
        """Check that all versions are AVAILABLE and that each model answers one real Predict.

        Return {model: (all its signatures, contract, inputs)} for the later checks.
        """
        requests = {}
        for model in self._models:
            self._available(found, model)
            offered = self._ask(checks.PREDICT, model, functools.partial(found.server.signatures, model.name))
            contract = signatures.chosen(offered, model.signature, where=model.name)
            requests[model.name] = (offered, contract, _request(model, contract))
            for version, label in [(None, None), *((None, label) for label in sorted(model.labels) if with_labels)]:
                self._ask(
                    checks.PREDICT,
                    model,
                    functools.partial(
                        found.server.predict, model.name, requests[model.name][-1], model.signature, version, label
                    ),
                )
        return requests

    def _available(self, found: Place, model: Model) -> None:
        end = time.monotonic() + self._timeout_s
        while True:
            statuses = self._ask(checks.AVAILABLE, model, lambda: found.server.status(model.name))
            fault = checks.unavailable(statuses, model.versions)
            if fault is None:
                return
            if not checks.is_loading(statuses, model.versions) or time.monotonic() > end:
                raise checks.closed(
                    checks.AVAILABLE, fault, where=model.name, remedy=_remedy(statuses, model.versions, fault)
                )
            time.sleep(_POLL_S)

    def unloadable(self, found: Place, wanted: Mapping[str, Sequence[int]]) -> list[str]:
        """Return sentences about versions that arrived while the server ran and that it could not load. wanted: {model: versions}."""
        return [
            f"{model}: version {one['version']} does not load, and the server ends at its next start, such as a reboot: {one['error_message']}. "
            "Publish that version completely again, or remove it"
            for model, numbers in wanted.items()
            for one in found.server.status(model)
            if one["version"] in numbers and one["state"] == grpc_api.END and one["error_message"]
        ]

    def all(
        self, found: Place, requests: Mapping[str, Any], ended: Callable[[], failure_diagnosis.Words | None]
    ) -> list[str]:
        """Run the checks after the first ones, in order, and return warnings. ended(): returns the failure diagnosis of a server that ended, or None."""
        warnings = []
        for model in self._models:
            offered, contract, inputs = requests[model.name]
            self._same_signatures(model, offered)
            self._agrees(found, model, contract)
            self._is_as_good(found, model, contract)
        for model in self._models:
            _offered, contract, inputs = requests[model.name]
            warnings += self._survives(found, model, contract, inputs, ended)
        return warnings

    def _same_signatures(self, model: Model, offered: signatures.Signatures) -> None:
        changed = checks.changed_signature(self._before.get(model.name, {}), offered)
        if changed and not self._accept_signature:
            raise checks.closed(
                checks.SIGNATURE,
                "; ".join(changed),
                where=model.name,
                remedy="Serve it under another model name, or accept it with accept_signature_change: true once its clients can do without the old one.",
            )

    def _agrees(self, found: Place, model: Model, contract: Signature) -> None:
        if model.reference is None or model.inputs is None:
            return
        rows, squeezed = _feeding(model.inputs, contract)
        inputs = _fed(model.inputs, contract, model.most)
        reference = {name: tensor.rows(rows or model.most) for name, tensor in model.reference.items()}
        reference = (
            {name: tensor.reshaped(tensor.shape[1:]) for name, tensor in reference.items()} if squeezed else reference
        )
        answered = self._ask(checks.AGREEMENT, model, lambda: found.server.predict(model.name, inputs, model.signature))
        wrong = agreement.disagreements(reference, answered, model.tolerance)
        if wrong:
            raise checks.closed(
                checks.AGREEMENT,
                "; ".join(wrong),
                where=model.name,
                remedy="Publish the correct model, or set the reference that belongs to it.",
            )

    def _is_as_good(self, found: Place, model: Model, contract: Signature) -> None:
        if model.judged is None:
            return
        judged = model.judged
        examples, answers = self._answers(found, model, contract, judged.inputs)
        try:
            here = judged.measure(answers, judged.labels and judged.labels.rows(examples))
        except FleetError as fault:
            raise checks.closed(checks.AGREEMENT, fault.what, where=model.name, remedy=fault.remedy) from fault
        accepted, reason = task_metrics.verdict_where_served(
            judged.metric["name"],
            examples,
            judged.before,
            judged.after,
            here,
            judged.metric["allowed_loss"],
            judged.metric["goal"],
        )
        if not accepted:
            raise checks.closed(
                checks.AGREEMENT,
                reason,
                where=model.name,
                remedy="Convert it again for hosts of this class, or serve the SavedModel.",
            )
        self.judged[model.name] = {
            "metric": judged.metric["name"],
            "examples": examples,
            "source": judged.before,
            "converted": judged.after,
            "served": here,
        }

    def _answers(self, found: Place, model: Model, contract: Signature, inputs: dict[str, tensors.Tensor]) -> Any:
        """Return (number of examples, {output: Tensor}) for a metric. Outputs whose answers cannot be joined are left out."""
        parts: list[dict[str, tensors.Tensor]] = []
        total = min(tensor.shape[0] for tensor in inputs.values())
        rows, squeezed = _feeding(inputs, contract)
        step = rows or model.most
        examples = total - total % rows if rows else total
        for first in range(0, examples, step):
            end = min(first + step, examples)
            request = _fed({name: tensor.part(first, end) for name, tensor in inputs.items()}, contract)
            answer = self._ask(
                checks.AGREEMENT,
                model,
                functools.partial(found.server.predict, model.name, request, model.signature),
            )
            parts.append(
                {name: tensor.reshaped((1, *tensor.shape)) if squeezed else tensor for name, tensor in answer.items()}
            )
        joined = {name: tensors.joined([part[name] for part in parts]) for name in parts[0]}
        return examples, {name: tensor for name, tensor in joined.items() if tensor}

    def _survives(
        self,
        found: Place,
        model: Model,
        contract: Signature,
        inputs: dict[str, tensors.Tensor],
        ended: Callable[[], failure_diagnosis.Words | None],
    ) -> Any:
        warnings = []
        for what, request in [] if self._accept_fragile else checks.malformed(contract["inputs"], inputs):
            if None in request.values():
                continue
            if what == checks.NO_ROWS and found.batching:
                warnings += _in_one_batch(found, model, request, inputs)
            elif _fault_of(found, model, request) is None and what == "another dtype":
                warnings.append(
                    f"{model.name} accepts a request with another dtype without an error: its clients must send the right dtype"
                )
            words = _end_of(found, ended)
            if words:
                onednn = "tensor_format" in words.lines or "onednn" in words.lines.lower()
                padded = found.batching and "size >= 0" in words.lines
                raise checks.closed(
                    checks.MALFORMED,
                    f"one request with {what} ends the server ({words.cause}); it says: {words.lines}",
                    where=model.name,
                    remedy=checks.ONEDNN_REMEDY
                    if onednn
                    else checks.PADDING_REMEDY
                    if padded
                    else checks.FRAGILE_REMEDY,
                )
        return warnings

    def _ask(self, check: str, model: Model, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except ServerFault as fault:
            raise checks.closed(check, str(fault).rstrip("."), where=model.name) from fault


def _fault_of(found: Place, model: Model, request: dict[str, tensors.Tensor]) -> ServerFault | None:
    try:
        found.server.predict(model.name, request, model.signature)
    except ServerFault as fault:
        return fault
    return None


def _in_one_batch(
    found: Place, model: Model, request: dict[str, tensors.Tensor], good: dict[str, tensors.Tensor]
) -> list[str]:
    """Send a request without rows and, while it waits alone in its queue, a valid one that joins it. Return warnings."""
    found = Place(found.server.within(_LONE_S), found.batching)
    with ThreadPoolExecutor(1) as pool:
        lone = pool.submit(_fault_of, found, model, request)
        time.sleep(_ALONE_S)
        waits = not lone.done()
        joined = _fault_of(found, model, good)
    if not waits:
        return []
    then = f"; that request then fails with {joined}".rstrip(".") if joined else ""
    return [
        f"{model.name} is batched: a request without rows waits until a request of another client joins its batch{then}. Its "
        "clients must not send such requests"
    ]


def _end_of(found: Place, ended: Callable[[], failure_diagnosis.Words | None]) -> Any:
    """Return the failure diagnosis of a server that a request ended, or None. The engine notices this with a short delay."""
    end = time.monotonic() + _DYING_S
    words = ended()
    while not words and not speaks(found) and time.monotonic() < end:
        time.sleep(_POLL_S)
        words = ended()
    return words


def _remedy(statuses: Sequence[VersionStatus], wanted: Sequence[int], fault: str) -> Any:
    """Return what to do about a version that is not AVAILABLE."""
    ending = endings.find(fault)
    if ending and ending.remedy:
        return ending.remedy
    return (
        "Allow more time (ready_timeout_s)."
        if checks.is_loading(statuses, wanted)
        else "Publish the complete version again."
    )


def _request(model: Model, contract: Signature) -> dict[str, tensors.Tensor]:
    """Return one request that the signature accepts: the first sample, or a generated one."""
    if model.inputs is not None:
        return _fed(model.inputs, contract, 1)
    made = checks.made_up(contract["inputs"])
    if made is None:
        raise FleetError("cannot generate a request for the signature", where=model.name, remedy="Set samples.")
    return made


def _feeding(samples: Mapping[str, tensors.Tensor], contract: Signature) -> tuple[int | None, set[str]]:
    """Return (the number of rows that each request must have or None, the inputs without rows)."""
    rows, squeezed = signatures.feeding(
        contract["inputs"], {name: tensor.shape for name, tensor in samples.items()}, where="samples"
    )
    present = min((tensor.shape[0] for tensor in samples.values()), default=0)
    if rows and rows > present:
        raise FleetError(
            f"the signature takes {rows} rows in each request, but the samples have {present}", where="samples"
        )
    return rows, squeezed


def _fed(
    samples: Mapping[str, tensors.Tensor], contract: Signature, most: int | None = None
) -> dict[str, tensors.Tensor]:
    """Return a request made of samples."""
    rows, squeezed = _feeding(samples, contract)
    few = rows or most
    inputs = {
        name: tensors.cast(
            tensor.rows(few) if few else tensor, contract["inputs"][name]["dtype"], f"samples: inputs.{name}"
        )
        for name, tensor in samples.items()
    }
    return {name: tensor.reshaped(tensor.shape[1:]) if name in squeezed else tensor for name, tensor in inputs.items()}
