# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of an address may be shown: neither user and password nor what follows a question mark, where presigned addresses have their signature."""

from __future__ import annotations

import re
import urllib.parse
from typing import Any

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_END = re.compile(r"[?#]")
_SHORTEST = 6  # A user such as git is no secret, and would be one wherever these letters stand.


def public(source: str) -> str:
    """An address as it may be shown and kept; a path as it is."""
    found = _SCHEME.match(source)
    if not found:
        return source
    host, slash, path = _END.split(source[found.end() :], maxsplit=1)[0].partition("/")
    return f"{found.group(0)}{host.rpartition('@')[2]}{slash}{path}"


def masked(text: str, value: Any) -> str:
    """A text about JSON data, without the secrets of the data's addresses."""
    for secret in sorted(secrets(value), key=len, reverse=True):
        text = text.replace(secret, "********")
    return text


def secrets(value: Any) -> set[str]:
    """What of all addresses in JSON data no message may show: passwords, users that stand alone as tokens do, and what follows a question mark."""
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
