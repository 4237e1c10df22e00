# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for parts of a request that need libraries of the controller: policies (jmespath), documents (yaml), microarchitectures (archspec)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import secret_variables
from ansible_collections.tfserving.fleet.plugins.module_utils._image import microarchitectures
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import policies

try:
    import jmespath
    from jmespath.exceptions import JMESPathError
    from jmespath.lexer import Lexer
except ImportError:
    jmespath = None


def prepared(
    capabilities: Mapping[str, Any] | None, request: Any, is_vaulted: Callable[[Any], bool]
) -> tuple[dict[str, Any], Mapping[str, Any] | None, list[str]]:
    """Return (request, microarchitectures, names of secret variables) for the plan.

    Policies contain whether they apply to the host, and secret variables are left out. is_vaulted: whether a value is
    from a vault. Raise FleetError for such values, and for secrets in policies, that the plan would show.
    """
    asked = dict(request or {})
    given = asked.get("environment")
    secrets = sorted(secret_variables(given, is_vaulted)) if isinstance(given, dict) else []
    if isinstance(given, dict) and secrets:
        asked["environment"] = {name: value for name, value in given.items() if name not in secrets}
    policies.refuse_secrets(asked.get("policies"), is_vaulted)
    refuse_vaulted("tfserving_", asked, is_vaulted)
    asked = with_documents(asked)
    return (
        _with_verdicts(capabilities, asked),
        microarchitectures.known() if microarchitectures.needed(asked) else None,
        secrets,
    )


def refuse_vaulted(prefix: str, variables: Mapping[str, Any], is_vaulted: Callable[[Any], bool]) -> None:
    """Raise FleetError for the first value from a vault in variables. prefix: of their names."""
    for name, value in variables.items():
        secret = _vaulted(f"{prefix}{name}", value, is_vaulted)
        if secret:
            of_server = secret.startswith("tfs_server_environment.")
            plain = "Write it in plain text, or leave it out: only tfserving_environment may contain secrets."
            raise FleetError(
                "it is in a vault, and the plan would show it",
                where=secret,
                remedy="Set it in tfs_server_secret_environment." if of_server else plain,
            )


def _vaulted(where: str, value: Any, is_vaulted: Callable[[Any], bool]) -> str | None:
    """Return the place of the first value from a vault, or None."""
    if isinstance(value, Mapping):
        inner = ((f"{where}.{key}", one) for key, one in value.items())
    elif isinstance(value, (list, tuple)):
        inner = ((f"{where}[{number}]", one) for number, one in enumerate(value))
    else:
        return where if is_vaulted(value) else None
    return next(filter(None, (_vaulted(at, one, is_vaulted) for at, one in inner)), None)


def with_secrets(made: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Return the plan with a decision about secret variables: the role passes them on, or a refusal because the embedded server does not support them."""
    if not names:
        return made
    if made["backend"] != "embedded":
        return dict(
            made,
            decisions=made["decisions"]
            + [
                {
                    "subject": f"environment {name}",
                    "choice": "set, but not shown",
                    "reason": "a secret, by its name or because it is in a vault; the role tfs_server passes it to the server",
                }
                for name in names
            ],
        )
    return dict(
        made,
        refusals=made["refusals"]
        + [
            {
                "subject": f"environment {name}",
                "reason": "it is a secret, and the embedded server keeps its specification in a file that others may read",
                "remedy": "Leave it out of tfserving_environment, or serve in a container (tfserving_backend: docker)",
                "change": {"environment": {name: None}},
            }
            for name in names
        ],
    )


def with_documents(request: dict[str, Any]) -> dict[str, Any]:
    """Return the request with whole compose files and manifests among its options parsed."""
    given = request.get("options")
    return dict(request, options=[_document(line) for line in given]) if isinstance(given, list) else request


def _document(line: Any) -> Any:
    if not isinstance(line, str) or "\n" not in line.strip():
        return line
    import yaml

    try:
        documents = [one for one in yaml.safe_load_all(line) if one is not None]
    except yaml.YAMLError:
        return line
    found = documents if len(documents) > 1 else documents[0] if documents else line
    return found if isinstance(found, (dict, list)) and all(isinstance(one, dict) for one in documents) else line


def _with_verdicts(capabilities: Mapping[str, Any] | None, request: dict[str, Any]) -> dict[str, Any]:
    """Return the request with policies that contain whether their condition applies to these capabilities."""
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


def _holds(number: int, condition: str, capabilities: Mapping[str, Any] | None) -> bool:
    compiled = _compiled(number, condition)
    try:
        return bool(compiled.search(capabilities))
    except JMESPathError as fault:
        raise _condition_fault(number, condition, fault) from None


@functools.lru_cache(maxsize=1024)
def _compiled(number: int, condition: str) -> Any:
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


def _condition_fault(number: int, condition: str, fault: FleetError) -> FleetError:
    position = getattr(fault, "lex_position", None)
    at = f", at character {position + 1} of {condition!r}" if position is not None else f", in {condition!r}"
    what = str(fault).partition("\n")[0].rstrip(":")
    return FleetError(f"not a valid JMESPath condition: {what}{at}", where=f"tfserving_policies[{number}].when")
