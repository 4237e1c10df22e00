# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter behind tfserving.fleet.model_results: check the results of a host's conversions."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils._model import variant_choice
from ansible_collections.tfserving.fleet.plugins.plugin_utils import _filters


@_filters.named
def model_results(made, directory, item):
    """Return [{model, form, version, path, …}] of a host's results of model_conversion."""
    return variant_choice.results(made, directory, item)


FilterModule = _filters.module(model_results)
