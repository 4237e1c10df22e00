# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter behind tfserving.fleet.model_conversions: which variants of which models to create."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils._model import variant_choice
from ansible_collections.tfserving.fleet.plugins.plugin_utils import _filters


@_filters.named
def model_conversions(models, plans=(), looked=()):
    """Return [{model, form, published, version, required, batch_sizes, select_tf_ops, unjudged}], each variant of a model once."""
    return [
        dict(
            one,
            published=variant_choice.published(one["form"]),
            version=variant_choice.version(one, looked),
        )
        for one in variant_choice.conversions(models, plans)
    ]


FilterModule = _filters.module(model_conversions)
