# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Task metrics on labelled samples, and whether a loss is allowed. Works on NumPy arrays by their own methods alone."""

from __future__ import annotations

import math

from ansible_collections.tfserving.fleet.plugins.module_utils.common.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils.common.options import one_of

TOP = 5
_ROUNDING = 1e-9
_SHARES = ("accuracy", "auc", "top_k")      # Between 0 and 1.


def measure(metric, outputs, labels, output=None):
    """The value of a metric: a float.

    outputs: {name: array}, first axis = examples. labels: array, first axis = examples. output: which of them is judged; None where there is one.
    accuracy: share of right classes; classes are the largest of a row of scores, or for one score a row 1 from 0.5 on; labels are class numbers or
    one-hot rows. top_k: share of labels among the TOP largest scores. auc: area under the ROC curve of one score a row (or of the second of two)
    against labels 0 and 1. rmse: root of the mean squared difference. A row with NaN is never right. Raises FleetError where outputs and labels do not fit
    the metric: a metric that judges nothing would accept anything.
    """
    one_of("metric", metric, METRICS)
    scores = chosen_output(outputs, output)
    if scores.ndim == 0 or len(scores) != len(labels):
        raise FleetError(
            f"the output has shape {list(scores.shape)}, yet there are {len(labels)} labels",
            where="metric",
            remedy="Judge an output with a row for each example.",
        )
    return float(METRICS[metric](scores, labels))


def judge(metric, before, after, allowed_loss, goal=None):
    """(accepted, loss, sentence). loss: how much worse the metric became, in its own unit; negative where it became better.

    goal: "higher" or "lower", which of two values is better; None where the metric's name says it.
    """
    if metric in _SHARES and before <= allowed_loss:
        return False, before - after, (f"{metric} of the source itself is {before:.6g}, so that no loss is above the allowed {allowed_loss:g}: "
                                       "the labels do not belong to the samples, or too much is allowed")
    loss = after - before if (goal or goal_of(metric)) == "lower" else before - after
    accepted = loss <= allowed_loss + _ROUNDING
    figures = f"{metric} {before:.6g} before, {after:.6g} after: a loss of {loss:.6g}"
    return accepted, loss, f"{figures} is {'within' if accepted else 'above'} the allowed {allowed_loss:g}"


def goal_of(metric):
    """Which value of a metric is better, "higher" or "lower"."""
    return "lower" if metric == "rmse" else "higher"


def chosen_output(outputs, output):
    """The output that is judged; output: its name, or None where there is one. Raises FleetError."""
    if output is None and len(outputs) == 1:
        return next(iter(outputs.values()))
    if output is None:
        raise FleetError(
            f"the model has several outputs: {', '.join(sorted(outputs))}", where="metric_output", remedy="Name the one that the labels belong to."
        )
    return outputs[one_of("metric_output", output, sorted(outputs))]


def _known(scores):
    """Where there is a number; NaN is none."""
    return abs(scores) <= math.inf


def _accuracy(scores, labels):
    if _single(scores) and scores.dtype.kind in "iubOSU":        # Classes themselves.
        predicted, known = scores.reshape(len(scores)), True
        labels = _classes(labels, names=scores.dtype.kind in "OSU")
    elif _single(scores):
        scores = scores.reshape(len(scores))
        predicted, known, labels = scores >= 0.5, _known(scores), _classes(labels, 2)
    else:
        predicted, known, labels = _rows(scores, "accuracy").argmax(axis=1), _known(scores).all(axis=1), _classes(labels, scores.shape[1])
    return ((predicted == labels) & known).mean()


def _top_k(scores, labels):
    scores = _rows(scores, "top_k")
    if scores.shape[1] <= TOP:
        raise FleetError(
            f"top_k looks at the {TOP} largest of more than {TOP} classes, the output has {scores.shape[1]}", where="metric", remedy="Use accuracy."
        )
    best, labels = scores.argsort(axis=1)[:, -TOP:], _classes(labels, scores.shape[1])
    return ((best == labels.reshape(-1, 1)).any(axis=1) & _known(scores).all(axis=1)).mean()


def _auc(scores, labels):
    if scores.ndim == 2 and scores.shape[1] == 2:
        scores = scores[:, 1]
    elif not _single(scores):
        raise FleetError(
            f"auc needs one score for each example, the output has shape {list(scores.shape)}",
            where="metric",
            remedy="Use accuracy for several classes.",
        )
    scores, positive = scores.reshape(len(scores)).astype("float64"), _classes(labels, 2).astype("float64")
    if sorted(set(positive.tolist())) != [0.0, 1.0]:
        raise FleetError("auc needs labels 0 and 1, both of them", where="samples")
    if not _known(scores).all():    # NaN has no rank.
        return float("nan")
    ordered, positive = scores[scores.argsort()], positive == 1.0
    ranks = (ordered.searchsorted(scores, "left") + ordered.searchsorted(scores, "right") + 1) / 2
    positives = int(positive.sum())
    return (ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * (len(scores) - positives))


def _rmse(scores, labels):
    if scores.size != labels.size:
        raise FleetError(f"rmse needs labels of the output's shape {list(scores.shape)}, they have {list(labels.shape)}", where="samples")
    if labels.dtype.kind not in "iufb":
        raise FleetError("rmse needs numbers as labels", where="samples")
    return ((scores.astype("float64").ravel() - labels.astype("float64").ravel()) ** 2).mean() ** 0.5


def _classes(labels, count=None, names=False):
    """Labels as one class each: numbers below count where that is known, or names. Raises FleetError."""
    if (labels.dtype.kind in "OSU") != names:
        raise FleetError(f"the labels are {'numbers' if names else 'texts'}, the output's classes are not", where="samples",
                         remedy="Label them as the model does.")
    if labels.ndim == 2 and labels.shape[1] > 1 and count in (None, labels.shape[1]):
        return labels.argmax(axis=1)
    if labels.size != len(labels):
        raise FleetError(f"labels of shape {list(labels.shape)} are neither class numbers nor one-hot rows{f' of {count} classes' if count else ''}",
                         where="samples")
    labels = labels.reshape(len(labels))
    if names:
        return labels
    numbers = labels.astype("float64")
    wrong = labels[~((numbers % 1 == 0) & (numbers >= 0) & (numbers < (math.inf if count is None else count)))]
    if len(wrong):
        raise FleetError(f"the label {wrong[0]} is no class number{f' from 0 to {count - 1}' if count else ''}", where="samples")
    return labels


def _rows(scores, metric):
    if scores.ndim != 2 or scores.dtype.kind not in "fiu":
        raise FleetError(f"{metric} needs a row of scores for each example, the output has shape {list(scores.shape)}", where="metric")
    return scores


def _single(scores):
    return scores.ndim == 1 or (scores.ndim == 2 and scores.shape[1] == 1)


METRICS = {"accuracy": _accuracy, "auc": _auc, "rmse": _rmse, "top_k": _top_k}
