# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A request made ready for the pure plan, and its plan: policies are judged, documents among the options read, secret variables left out and told."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import looks_secret
from ansible_collections.tfserving.fleet.plugins.module_utils._image import microarchitectures
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.conditions import with_verdicts
from ansible_collections.tfserving.fleet.plugins.module_utils._plan.plan import plan


def planned(capabilities, request, is_from_vault):
    """The plan of one host from its capabilities and the request. is_from_vault: tells of a value whether it is encrypted or was."""
    asked, known, secrets = prepared(capabilities, request, is_from_vault)
    return with_secrets(plan(capabilities, asked, known), secrets)


def prepared(capabilities, request, is_from_vault):
    """(request, microarchitectures, names of secret variables) for the plan."""
    asked = with_documents(dict(request or {}))
    given = asked.get("environment")
    secrets = sorted(secret_variables(given, is_from_vault)) if isinstance(given, dict) else []
    if secrets:
        asked["environment"] = {name: value for name, value in given.items() if name not in secrets}
    return (
        with_verdicts(capabilities, asked),
        microarchitectures.known() if microarchitectures.needed(asked) else None,
        secrets,
    )


def secret_variables(environment, is_from_vault):
    """{name: value} of the variables that are shown nowhere: those from a vault, and those whose names look like a secret's."""
    return {
        name: value
        for name, value in (environment or {}).items()
        if value is not None and (looks_secret(str(name)) or is_from_vault(value))
    }


def with_secrets(made, names):
    """The plan with what becomes of secret variables: the role hands them on, or the embedded server cannot have them."""
    if not names:
        return made
    if made["backend"] != "embedded":
        return dict(
            made,
            decisions=made["decisions"]
            + [
                {
                    "subject": f"environment {name}",
                    "choice": "set, and shown nowhere",
                    "reason": "a secret by its name or its vault; the role tfs_server hands it on",
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
                "reason": "a secret, and the embedded server keeps its specification in a file that others may read",
                "remedy": "Leave it out of tfserving_environment, or serve in a container (tfserving_backend: docker)",
                "change": {"environment": {name: None}},
            }
            for name in names
        ],
    )


def with_documents(request):
    """The request with the texts among its options that are whole compose files or manifests as what they hold."""
    given = request.get("options")
    return dict(request, options=[_document(line) for line in given]) if isinstance(given, list) else request


def _document(line):
    if not isinstance(line, str) or "\n" not in line.strip():
        return line
    import yaml

    try:
        documents = [one for one in yaml.safe_load_all(line) if one is not None]
    except yaml.YAMLError:
        return line
    found = documents if len(documents) > 1 else documents[0] if documents else line
    return found if isinstance(found, (dict, list)) and all(isinstance(one, dict) for one in documents) else line
