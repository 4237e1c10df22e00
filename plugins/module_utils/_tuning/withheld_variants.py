# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the variants of a model that a tuning must not keep, however fast they are: those of an earlier version, and those that take signatures from clients."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import manifest
from ansible_collections.tfserving.fleet.plugins.module_utils._model.manifest import Manifest
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import signature as signatures
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import saved_structure
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.variants import SAVED_MODEL, VARIANTS

_MANIFEST = "manifest.json"

Call = Callable[..., Mapping[str, Any]]


class Withheld(NamedTuple):
    """{variant: why it is not kept}. outdated: those that are not even measured, because they answer what another version of the model would."""

    outdated: Mapping[str, str]
    lossy: Mapping[str, str]


def find(call: Call, folders: Mapping[str, str], forms: Iterable[str], signature: str) -> Withheld:
    """Return which of the variants to try are withheld.

    call: runs a module on the host and returns its result, or raises FleetError. folders: {variant: base path} of those
    that are published. signature: the one that a converted variant serves.
    """
    outdated, lossy = dict[str, str](), dict[str, str]()
    for form in sorted({*forms} & {*folders} - {SAVED_MODEL}) if SAVED_MODEL in folders else ():
        reason = _outdated(call, folders, form)
        if reason:
            outdated[form] = reason
        elif form in VARIANTS and VARIANTS[form].lite and (lost := _lost(call, folders[SAVED_MODEL], signature)):
            lossy[form] = (
                f"TensorFlow Lite would serve only {signature}, and clients could no longer call {', '.join(lost)}; request it with optimize: {form}"
            )
    return Withheld(outdated, lossy)


def _outdated(call: Call, folders: Mapping[str, str], form: str) -> str | None:
    variant = _newest(call, folders[form])
    source = _newest(call, folders[SAVED_MODEL]) if variant and variant[1] else None
    if not variant or not source or not manifest.is_of_another_model(variant[1], source[1]):
        return None
    return (
        f"version {variant[0]} of {form} was not made from version {source[0]} of saved_model, the newest of the model: its conversion was refused, or "
        "tfserving.fleet.convert did not run"
    )


def _newest(call: Call, folder: str) -> tuple[int, Manifest | None] | None:
    """Return (number, manifest) of the newest version below a folder, or None if it cannot be read."""
    try:
        number, path = saved_structure.newest(call, folder) or (0, None)
        answer = call("ansible.builtin.slurp", src=f"{path}/{_MANIFEST}") if path else None
    except FleetError:
        return None
    return (number, manifest.parse(base64.b64decode(answer["content"]))) if answer else None


def _lost(call: Call, folder: str, signature: str) -> list[str]:
    """Return the signatures of the newest SavedModel below a folder that a variant with only one of them does not have."""
    offered = (saved_structure.described(call, folder) or {}).get("signatures") or {}
    return signatures.lost(offered, {signature: offered[signature]}) if signature in offered else []
