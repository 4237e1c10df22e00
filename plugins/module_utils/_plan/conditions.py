# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The conditions of policies: whether they hold on a host. Evaluated by JMESPath's library, on the controller."""

from __future__ import annotations

import functools

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import policies

try:
    import jmespath
    from jmespath.exceptions import JMESPathError
    from jmespath.lexer import Lexer
except ImportError:
    jmespath = None


def with_verdicts(capabilities, request):
    """The request whose policies carry whether their condition holds for these capabilities."""
    given = request.get("policies")
    if not given or not isinstance(given, list):
        return request
    policies.check(given)
    return dict(
        request,
        policies=[
            dict(policy, holds=_holds(number, policy["when"], capabilities)) for number, policy in enumerate(given)
        ],
    )


def _holds(number, condition, capabilities):
    compiled = _compiled(number, condition)
    try:
        return bool(compiled.search(capabilities))
    except JMESPathError as fault:
        raise _condition_fault(number, condition, fault) from None


@functools.lru_cache(maxsize=1024)
def _compiled(number, condition):
    if jmespath is None:
        raise FleetError(
            "policies need the Python package jmespath on the controller",
            where="tfserving_policies",
            remedy="Install it: pip install jmespath",
        )
    try:
        compiled = jmespath.compile(condition)
        tokens = list(Lexer().tokenize(condition))
    except JMESPathError as fault:
        raise _condition_fault(number, condition, fault) from None
    policies.check_condition(number, condition, compiled.parsed, tokens)
    return compiled


def _condition_fault(number, condition, fault):
    position = getattr(fault, "lex_position", None)
    at = f", at character {position + 1} of {condition!r}" if position is not None else f", in {condition!r}"
    what = str(fault).partition("\n")[0].rstrip(":")
    return FleetError(
        f"no JMESPath condition that can be evaluated: {what}{at}", where=f"tfserving_policies[{number}].when"
    )
