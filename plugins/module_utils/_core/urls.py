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
_HOST_END = re.compile(r"[/?#]")
_HOST_AND_PORT = re.compile(r"(?:\[.*|[^:]*)(?::[0-9]*)?")
_SHORTEST = 6  # A user such as git is not a secret; masking it would hide these letters everywhere.
_TOKEN = 16  # Longer users are tokens, also if a password is given.


def public(source: str) -> str:
    """Return an address without secrets, also where a text precedes it, and a path unchanged."""
    found = _SCHEME.search(source)
    if not found:
        return source
    return source[: found.end()] + _END.split(_parts(source[found.end() :])[1], maxsplit=1)[0]


def masked(text: str, value: Any) -> str:
    """Return a text without the secrets of the addresses in JSON data."""
    for secret in sorted(secrets(value), key=len, reverse=True):
        text = text.replace(secret, "********")
    return text


def secrets(value: Any) -> set[str]:
    """Return the secrets of all addresses in JSON data: passwords, users that can be tokens, and queries."""
    if isinstance(value, dict):
        return {secret for pair in value.items() for one in pair for secret in secrets(one)}
    if isinstance(value, (list, tuple)):
        return {secret for one in value for secret in secrets(one)}
    found = _SCHEME.search(value) if isinstance(value, str) else None
    if not found:
        return set()
    account, rest = _parts(value[found.end() :])
    user, _colon, password = account.partition(":")
    query = "".join(_END.split(rest, maxsplit=1)[1:])
    # Errors contain the part of a password that is not quoted and seems to be a port.
    given = [*_HOST_END.split(password), *(one for _name, one in urllib.parse.parse_qsl(query))]
    given = [one for one in given if len(one) >= _SHORTEST] + [password, query]
    given += [user] if len(user) >= (_TOKEN if password else _SHORTEST) else []
    return {one for part in given for one in (part, urllib.parse.unquote(part)) if one} | secrets(rest)


def _parts(address: str) -> tuple[str, str]:
    """Return (user and password, the rest) of an address without its scheme. The password can contain /, ? or #, which should have been quoted."""
    host = _HOST_END.split(address, maxsplit=1)[0]
    account, at, _host = (host if "@" in host or _HOST_AND_PORT.fullmatch(host) else address).rpartition("@")
    return account, address[len(account + at) :]
