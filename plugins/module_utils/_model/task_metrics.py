# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compute task metrics on labeled samples, and decide whether a loss is allowed. Needs only Python, because hosts that serve may have nothing else."""

from __future__ import annotations

import bisect
import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import one_of
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.tensors import Tensor

TOP = 5
_ROUNDING = 1e-9
_SHARES = ("accuracy", "auc", "top_k")  # Between 0 and 1.
_COUNTS = ("accuracy", "top_k")  # Fractions of the examples.

_Output = TypeVar("_Output")


@dataclass(frozen=True)
class Values:
    """An array of any library. shape: a tuple. kind: "float", "integer", "boolean", "text" (bytes) or "other".

    rows: a function that returns the values of each example in turn, as flat lists of Python's own types.
    """

    shape: tuple[int, ...]
    kind: str
    rows: Callable[[], Iterator[list[Any]]]

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def width(self) -> int:
        """Return how many values an example has."""
        return math.prod(self.shape[1:])

    def flat(self) -> list[Any]:
        """Return all values in one list."""
        return [value for row in self.rows() for value in row]


def measure(metric: str, outputs: Mapping[str, Values], labels: Values, output: str | None = None) -> float:
    """Return the value of a metric: a float.

    outputs: {name: Values}, first axis = examples. labels: Values, first axis = examples. output: the evaluated one;
    None if there is only one.

    accuracy: fraction of correct classes. Classes are the largest of a row of scores, or, for a single score per row, 1
    from 0.5 on. Labels are class numbers or one-hot rows. top_k: fraction of labels among the TOP largest scores. auc:
    area under the ROC curve of one score per row (or of the second of two) against labels 0 and 1. rmse: root of the
    mean squared difference. A row with NaN is never correct. Raise FleetError if outputs and labels do not fit the
    metric, because a metric that evaluates nothing would accept everything.
    """
    one_of("metric", metric, METRICS)
    scores = chosen_output(outputs, output)
    if not scores.shape or len(scores) != len(labels) or not scores.width:
        raise FleetError(
            f"the output has shape {list(scores.shape)}, but there are {len(labels)} labels",
            where="metric",
            remedy="Use an output with one row for each example (metric_output).",
        )
    return float(METRICS[metric](scores, labels))


def check_function(metric: str | None, path: str | None) -> None:
    """Raise FleetError if only one of the metric function and its file (path or None) is set."""
    if bool(path) != (metric == "function"):
        raise FleetError(
            "it must be set together with metric: function",
            where="metric_function",
            remedy="Set both, or neither.",
        )


def verdict(metric: str, before: float, after: float, allowed_loss: float, goal: str | None = None) -> tuple[bool, str]:
    """Return (accepted, sentence) of a change that takes a metric from before to after.

    allowed_loss: in the metric's own unit. goal: "higher" or "lower", whichever is better; None if the metric's name
    determines it. NaN is never accepted.
    """
    if metric in _SHARES and not _exceeds(before, allowed_loss):
        return False, (
            f"{metric} of the source is {before:.6g}, so no loss can be above the allowed {allowed_loss:g}: "
            "the labels do not belong to the samples, or allowed_loss is too large"
        )
    return _within(metric, before, after, allowed_loss, goal, f"{metric} {before:.6g} before, {after:.6g} after")


def verdict_where_served(
    metric: str, examples: int, before: float, after: float, here: float, allowed_loss: float, goal: str | None = None
) -> tuple[bool, str]:
    """Return (accepted, sentence) on another host for a variant that verdict() accepted. here: the metric there, over some of the same examples.

    With few examples, a single one has a large effect. Allowed is what the variant lost over these where it was
    converted, and for fractions one more example.
    """
    allowed = max(allowed_loss, _loss(metric, before, after, goal), 1 / examples if metric in _COUNTS else 0.0)
    return _within(
        metric, before, here, allowed, goal, f"{metric} {here:.6g} over {examples} examples, {before:.6g} of the source"
    )


def _within(
    metric: str, before: float, after: float, allowed: float, goal: str | None, figures: str
) -> tuple[bool, str]:
    lost = _loss(metric, before, after, goal)
    accepted = not _exceeds(lost, allowed)
    return accepted, f"{figures}: a loss of {lost:.6g} is {'within' if accepted else 'above'} the allowed {allowed:g}"


def _exceeds(lost: float, allowed: float) -> bool:
    """Return whether a loss, or NaN, is above the allowed one. Differences of floats are rounded: 0.98 - 0.97 is 0.01."""
    return not lost <= allowed + _ROUNDING


def _loss(metric: str, before: float, after: float, goal: str | None) -> float:
    """Return how much worse a metric became, in its own unit; negative if it became better."""
    return after - before if (goal or goal_of(metric)) == "lower" else before - after


def goal_of(metric: str) -> str:
    """Return which value of a metric is better, "higher" or "lower"."""
    return "lower" if metric == "rmse" else "higher"


def chosen_output(outputs: Mapping[str, _Output], output: str | None) -> _Output:
    """Return the evaluated output. output: its name, or None if there is only one. Raise FleetError."""
    if output is None and len(outputs) == 1:
        return next(iter(outputs.values()))
    if output is None:
        raise FleetError(
            f"the model has several outputs: {', '.join(sorted(outputs))}",
            where="metric_output",
            remedy="Set metric_output to the one that the labels are for.",
        )
    return outputs[one_of("metric_output", output, sorted(outputs))]


def _accuracy(scores: Values, labels: Values) -> float:
    if _single(scores) and scores.kind in ("integer", "boolean", "text"):  # Classes themselves.
        return _share(
            zip(scores.flat(), _classes(labels, names=scores.kind == "text")),
            lambda predicted, label: predicted == label,
            len(scores),
        )
    if _single(scores) and scores.kind == "float":
        return _share(
            zip(scores.flat(), _classes(labels, 2)),
            lambda score, label: not math.isnan(score) and (score >= 0.5) == label,
            len(scores),
        )
    return _share(
        zip(_rows(scores, "accuracy"), _classes(labels, scores.shape[1])),
        lambda row, label: _known(row) and _largest(row) == label,
        len(scores),
    )


def _top_k(scores: Values, labels: Values) -> float:
    rows = _rows(scores, "top_k")
    if scores.width <= TOP:
        raise FleetError(
            f"top_k needs more than {TOP} classes, but the output has {scores.width}",
            where="metric",
            remedy="Use accuracy.",
        )
    return _share(
        zip(rows, _classes(labels, scores.width)),
        lambda row, label: _known(row) and label in heapq.nlargest(TOP, range(len(row)), key=row.__getitem__),
        len(scores),
    )


def _auc(scores: Values, labels: Values) -> float:
    if not (len(scores.shape) == 2 and scores.width == 2 or _single(scores)) or scores.kind not in (
        "float",
        "integer",
        "boolean",
    ):
        raise FleetError(
            f"auc needs one score for each example, but the output has shape {list(scores.shape)}",
            where="metric",
            remedy="Use accuracy for several classes.",
        )
    held, classes = [row[-1] for row in scores.rows()], _classes(labels, 2)
    if set(classes) != {0, 1}:
        raise FleetError("auc needs both labels, 0 and 1", where="samples")
    if not _known(held):  # NaN has no rank.
        return math.nan
    ordered = sorted(held)
    ranks = [
        (bisect.bisect_left(ordered, score) + bisect.bisect_right(ordered, score) + 1) / 2
        for score, label in zip(held, classes)
        if label
    ]
    return (sum(ranks) - len(ranks) * (len(ranks) + 1) / 2) / (len(ranks) * (len(held) - len(ranks)))


def _rmse(scores: Values, labels: Values) -> float:
    if scores.width != labels.width:
        raise FleetError(
            f"rmse needs labels with the output's shape {list(scores.shape)}, but they have {list(labels.shape)}",
            where="samples",
        )
    for what, values in (("labels", labels), ("outputs", scores)):
        if values.kind not in ("float", "integer", "boolean"):
            raise FleetError(f"rmse needs numbers as {what}", where="samples")
    squares = (
        (score - label) * (score - label) for pair in zip(scores.rows(), labels.rows()) for score, label in zip(*pair)
    )
    return math.sqrt(sum(squares) / (len(scores) * scores.width))


def _share(pairs: Iterable[tuple[Any, Any]], right: Callable[[Any, Any], bool], count: int) -> float:
    return sum(1 for pair in pairs if right(*pair)) / count


def _known(row: Iterable[float]) -> bool:
    """Return whether all values are numbers, without NaN."""
    return not any(map(math.isnan, row))


def _largest(row: list[Any]) -> int:
    return row.index(max(row))


def _classes(labels: Values, count: int | None = None, names: bool = False) -> list[Any]:
    """Return labels as a list with one class each: numbers below count if that is known, or names. Raise FleetError."""
    if (labels.kind == "text") != names:
        raise FleetError(
            f"the labels are {'numbers' if names else 'texts'}, but the output's classes are not",
            where="samples",
            remedy="Use the labels that the model uses.",
        )
    if not names and len(labels.shape) == 2 and labels.width > 1 and count in (None, labels.width):
        return [_largest(row) for row in labels.rows()]
    if labels.width != 1:
        raise FleetError(
            f"labels of shape {list(labels.shape)} are neither class numbers nor one-hot rows{f' of {count} classes' if count else ''}",
            where="samples",
        )
    held = labels.flat()
    wrong = [] if names else [label for label in held if not _is_class(label, count)]
    if wrong:
        raise FleetError(
            f"the label {wrong[0]} is not a class number{f' from 0 to {count - 1}' if count else ''}", where="samples"
        )
    return held


def _is_class(label: Any, count: int | None) -> bool:
    return not isinstance(label, complex) and 0 <= label < (math.inf if count is None else count) and label % 1 == 0


def _rows(scores: Values, metric: str) -> Iterator[list[Any]]:
    if len(scores.shape) != 2 or scores.kind not in ("float", "integer"):
        raise FleetError(
            f"{metric} needs a row of scores for each example, but the output has shape {list(scores.shape)}",
            where="metric",
        )
    return scores.rows()


def _single(scores: Values) -> bool:
    return len(scores.shape) == 1 or (len(scores.shape) == 2 and scores.width == 1)


METRICS: dict[str, Callable[[Values, Values], float]] = {
    "accuracy": _accuracy,
    "auc": _auc,
    "rmse": _rmse,
    "top_k": _top_k,
}
# Options of the modules that compute a metric, and of those that decide by it.
OPTIONS: dict[str, dict[str, Any]] = {
    "metric": {"type": "str", "choices": sorted([*METRICS, "function"])},
    "metric_output": {"type": "str"},
    "metric_function": {"type": "path"},
}
DECIDING_OPTIONS = dict(
    OPTIONS,
    metric_goal={"type": "str", "choices": ["higher", "lower"]},
    allowed_loss={"type": "float", "default": 0.01},
)


def of_tensor(tensor: Tensor) -> Values:
    """Return the Values of a tensors.Tensor."""
    kind = {"string": "text", "bool": "boolean"}.get(
        tensor.dtype, "float" if tensor.dtype.startswith("float") else "integer"
    )
    return Values(tensor.shape, kind, lambda: (tensor.part(row, row + 1).values() for row in range(tensor.shape[0])))
