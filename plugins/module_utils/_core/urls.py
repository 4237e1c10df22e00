# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses without secrets: user, password and query, which is the signature of presigned addresses."""

from __future__ import annotations

import re
import urllib.parse
from typing import Any

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_END = re.compile(r"[?#]")
_SHORTEST = 6  # A user such as git is not a secret; masking it would hide these letters everywhere.


def public(source: str) -> str:
    """Return an address without secrets, and a path unchanged."""
    found = _SCHEME.match(source)
    if not found:
        return source
    host, slash, path = _END.split(source[found.end() :], maxsplit=1)[0].partition("/")
    return f"{found.group(0)}{host.rpartition('@')[2]}{slash}{path}"


def masked(text: str, value: Any) -> str:
    """Return a text without the secrets of the addresses in JSON data."""
    for secret in sorted(secrets(value), key=len, reverse=True):
        text = text.replace(secret, "********")
    return text


def secrets(value: Any) -> set[str]:
    """Return the secrets of all addresses in JSON data: passwords, users without a password (often tokens), and queries."""
    if isinstance(value, dict):
        return {secret for pair in value.items() for one in pair for secret in secrets(one)}
    if isinstance(value, (list, tuple)):
        return {secret for one in value for secret in secrets(one)}
    found = _SCHEME.match(value) if isinstance(value, str) else None
    if not found:
        return set()
    rest, *query = _END.split(value[found.end() :], maxsplit=1)
    user, colon, password = rest.partition("/")[0].rpartition("@")[0].partition(":")
    parts = [password if colon or len(user) < _SHORTEST else user, *query]
    parts += [given for name, given in urllib.parse.parse_qsl("".join(query)) if len(given) >= _SHORTEST]
    return {one for part in parts for one in (part, urllib.parse.unquote(part)) if one}
