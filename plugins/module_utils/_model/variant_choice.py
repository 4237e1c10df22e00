# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the variants of models to make: those that users request, and those that the plans of their hosts chose or list as candidates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core import urls
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import is_at, one_of
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import model_names, variants

_AUTO = "auto"
_OF_A_RESULT = (
    "model",
    "form",
    "accepted",
    "reason",
    "version",
    "path",
    "gates",
    "lowest_runtime",
    "warmup_batch_sizes",
    "changed",
)
_PLAN = {"models", "candidates"}
_UNPLANNED = "tflite_dynamic_range"  # What auto tries without a plan.


def conversions(
    models: Sequence[Mapping[str, Any]], plans: Iterable[Mapping[str, Any] | None] = ()
) -> list[dict[str, Any]]:
    """Return [{model, form, required, batch_sizes, select_tf_ops, unjudged}] with each variant once: first the unchanged model, then its conversions.

    models: the request's, {name, optimize, …} each. plans: of the hosts that will serve them; None entries are ignored.
    required: the user requested this variant, or a plan serves it, for example because of a tuning. Without it, servers would go on with the variant of an
    earlier version, so a refusal is an error. The refusal of a variant that is only a candidate is a normal end.
    batch_sizes: sizes that get warm-up requests, those of the model itself or, if there are samples, of its batching.
    unjudged: nothing judges the answers of this variant, and no plan serves it: it is only for a tuning to measure.
    Raise FleetError for an unknown optimize, and for names that are invalid or occur twice.
    """
    known = [plan for plan in plans if plan]
    for plan in known:
        if not _PLAN <= set(plan):
            raise FleetError(
                f"{plan!r} is not the plan of a host",
                where="tfs_model_plans",
                remedy="Pass the result of tfserving.fleet.serving_plan.",
            )
    model_names.check_all([model.get("name") for model in models], "tfserving_models")
    found = []
    for number, model in enumerate(models):
        optimize = one_of(
            f"tfserving_models[{number}].optimize", model.get("optimize") or _AUTO, (_AUTO, *variants.VARIANTS)
        )
        source = model.get("source")
        if isinstance(source, str) and (
            "://" in source or urls.public(source) != source
        ):  # Before a loop over it shows a password in it.
            raise FleetError(
                f"{urls.public(source)!r} is a URL, not a folder",
                where=f"tfserving_models[{number}].source",
                remedy="Copy the model to the host that converts (model_version), and set its folder.",
            )
        common = {"model": model, "batch_sizes": _batch_sizes(model), "select_tf_ops": False, "unjudged": False}
        found.append(dict(common, form=variants.NONE, required=True))
        served, tried = _planned(model["name"], known)
        wanted = {form for form in served | tried if form != variants.SAVED_MODEL}
        judged = model.get("samples") and model.get("metric")
        if optimize == _AUTO and not known:
            wanted = {_UNPLANNED}
        if optimize in variants.VARIANTS and optimize != variants.NONE:
            wanted.add(optimize)
        found += [
            dict(
                common,
                form=form,
                required=form in served | {optimize},
                unjudged=form in tried - served - {optimize} and not judged,
                select_tf_ops=bool(model.get("select_tf_ops")) and variants.VARIANTS[form].lite,
            )
            for form in sorted(wanted)
        ]
    return found


def plans_by_converter(converters: Sequence[str], hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return {converter: [plan]}, with the plans of the hosts that use its conversions.

    converters: names of hosts. hosts: {name: {plan: or None, converter: the name of its converter, or None}}. A
    converter without a named one converts for itself, and another host uses the first converter. If there is no plan at
    all, each converter in use has an empty list. Raise FleetError for an unknown converter.
    """
    plans: dict[str, list[Any]] = {name: [] for name in converters}
    of_others: set[str] = set()
    for name, host in hosts.items():
        chosen = one_of(
            f"{name}: tfs_model_converter",
            host["converter"] or (name if name in converters else converters[0]),
            converters,
        )
        plans[chosen] += [host["plan"]] if host["plan"] else []
        of_others |= {chosen} - {name}
    return {name: made for name, made in plans.items() if made or name in of_others or not of_others}


def published(form: str) -> str:
    """Return the name under which a variant is published."""
    return variants.SAVED_MODEL if form == variants.NONE else form


def version(conversion: Mapping[str, Any], looked: Iterable[Mapping[str, Any]]) -> int | None:
    """Return the number that a conversion gets on all hosts, or None if it is unknown.

    It is the model's own, or else the highest that a host has or would assign. looked: results of the module
    model_conversion on these hosts, {model, form, version} each.
    """
    model, form = conversion["model"], published(conversion["form"])
    seen = [one["version"] for one in looked if (one.get("model"), one.get("form")) == (model["name"], form)]
    number: int | None = model.get("version")
    return max((one for one in seen if one is not None), default=None) if number is None else number


def results(made: Iterable[Mapping[str, Any]], directory: str, item: str) -> list[dict[str, Any]]:
    """Return a host's results of conversions, {model, form, version, path, …} each, after checking that their names and paths are those of the request.

    made: the results of the module model_conversion, with the controller's own conversion under the name item.
    directory: the host's folder of published models. Raise FleetError for a host that returns other names, because its
    results become paths on the controller and on other hosts.
    """
    found = []
    for one in made:
        name, form, number = one[item]["model"]["name"], one[item]["published"], one.get("version")
        path, named = one.get("path"), (one.get("model", name), one.get("form", form))
        is_number = isinstance(number, int) and not isinstance(number, bool)
        if named != (name, form) or not (
            path is None and number is None or is_number and is_at(path, directory, f"{name}/{form}/{number}")
        ):
            raise FleetError(
                f"the host published {path!r} as {named[0]!r}, {named[1]!r}, but the request was {name}, {form}",
                where=name,
                remedy="Check what runs on the host: its results are not those of this collection.",
            )
        found.append({key: one[key] for key in _OF_A_RESULT if key in one})
    return found


def _batch_sizes(model: Mapping[str, Any]) -> list[int]:
    batching = model.get("batching")
    allowed = batching.get("allowed_batch_sizes") if isinstance(batching, dict) and model.get("samples") else None
    return list(model.get("batch_sizes") or allowed or ())


def _planned(name: str, plans: Iterable[Mapping[str, Any]]) -> tuple[set[str], set[str]]:
    """Return the variants that the plans chose for a model, and those that they list as candidates."""
    chosen = {model["form"] for plan in plans for model in plan["models"] if model["name"] == name}
    tried = {
        candidate["change"]["form"]
        for plan in plans
        for candidate in plan["candidates"]
        if candidate["model"] == name and "form" in candidate["change"]
    }
    return chosen, tried
