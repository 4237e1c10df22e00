# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses without secrets: user, password and query, which is the signature of presigned addresses.

Innocent texts resemble addresses without a scheme: image@sha256:…, mailto:me@example.com, input:0@cpu. Such an address
is recognized where only an address can be: a source, and the value of a variable that is named after addresses. In any
other text, it needs a port, or a dot in its host and a path.
"""

from __future__ import annotations

import re
import urllib.parse
from re import Pattern
from typing import Any

# Limits keep searches linear in texts of others. Of these schemes, slashes can be missing.
_SCHEME = re.compile(
    r"(?i)[a-z][a-z0-9+.-]{0,30}:[/\\]{2,}|\b(?:https?|ftps?|socks\w{0,2}|gs|s3|ssh|git|tcp):[/\\]?(?=[^\s/\\])"
)
_USER = r"[^\s/@:\"'=,;(){}<>\[\]|]{1,200}(?::|%3a)"
_NO_DIGEST = r"@(?!(?:sha(?:1|256|384|512)|md5|blake3):)"
_ALONE = re.compile(rf"(?i)^\s*(?://)?({_USER}(?!/)[^\n]{{1,500}}|[^\s/@:]{{16,200}}){_NO_DIGEST}")
_IN_TEXT = re.compile(
    rf"(?i)(?:(?<![\w/.%+-])|(?<=//))({_USER}[^\s\"'<>/]{{1,500}}){_NO_DIGEST}"
    r"(?=(?:\[[0-9a-f:.]+\]|[\w.-]+):[0-9]{2,5}(?!\w)|[\w-]+\.[\w.-]+/)"
)
_OF_ADDRESSES = re.compile(r"(?i)(?:^|_)(?:prox(?:y|ies)|mirrors?|registry|registries|sources?|urls?)$")
_WORD = re.compile(r"[^\s\"'`<>]+")
_SIGN = re.compile(r"[@%?#]")
_BETWEEN = re.compile(r"[\s,;|]+")
_ENCODED_COLON = re.compile(r"(?i)^([^:%]*)%3a")
_ENCODED_AT = re.compile(r"%(?:25){0,3}40")
_NEXT = re.compile(r"[\s,;|][A-Za-z][A-Za-z0-9+.-]{0,30}://")
_END = re.compile(r"[?#]")
_HOST_END = re.compile(r"[/?#]")
_IN_PASSWORD = re.compile(r"[/?#@&=]")
_HOST_AND_PORT = re.compile(r"(?:\[.*|[^:]*)(?::[0-9]*)?")
_SURE_HOST = re.compile(r"\[.*|localhost|[^:]*\.[^:]*|[^:]*:[0-9]+")
_SHORTEST = 6  # A user such as git is not a secret; masking it would hide these letters everywhere.
_TOKEN = 16  # Longer users are tokens, also if a password is given.


def public(source: str) -> str:
    """Return an address without secrets, also where a text precedes it, and a path unchanged."""
    return _shown(source, _ALONE)


def hidden(text: str) -> str:
    """Return a text of others, such as a log, without the secrets of the addresses in it."""
    return _WORD.sub(lambda found: _shown(found[0], _IN_TEXT), text) if _SIGN.search(text) else text


def masked(text: str, value: Any) -> str:
    """Return a text without the secrets of the addresses in JSON data."""
    for secret in sorted(secrets(value), key=len, reverse=True):
        text = text.replace(secret, "********")
    return text


def has_password(name: str, text: str) -> bool:
    """Return whether the value of a variable is an address with a password, or contains one."""
    found = _found(text, _ALONE if _OF_ADDRESSES.search(name) else _IN_TEXT)
    return bool(found and found[1].partition(":")[2])


def secrets(value: Any, bare: Pattern[str] = _IN_TEXT) -> set[str]:
    """Return the secrets of all addresses in JSON data: passwords, users that can be tokens, and queries. bare: finds addresses without a scheme."""
    if isinstance(value, dict):
        return {
            secret
            for key, part in value.items()
            for secret in secrets(key, bare) | secrets(part, _ALONE if _OF_ADDRESSES.search(str(key)) else bare)
        }
    if isinstance(value, (list, tuple)):
        return {secret for one in value for secret in secrets(one, bare)}
    found = _found(value, bare) if isinstance(value, str) else None
    if not found:
        return set()
    account, rest = found[1:]
    user, _colon, password = account.partition(":")
    query = "".join(_END.split(rest, maxsplit=1)[1:])
    # Errors contain the part of a password that is not quoted and seems to be a port.
    given = [*_IN_PASSWORD.split(password), *(one for _name, one in urllib.parse.parse_qsl(query))]
    given = [one for one in given if len(one) >= _SHORTEST] + [password, query]
    given += [user] if len(user) >= (_TOKEN if password else _SHORTEST) else []
    given = [one for part in given for one in (part, urllib.parse.unquote(part)) if one]
    given += [word for word in value.split() if _ENCODED_AT.search(word)]
    several = [one for one in _BETWEEN.split(value) if "@" in one and one != value]
    return {*given} | secrets(rest) | secrets(several, bare)


def _shown(text: str, bare: Pattern[str]) -> str:
    found = _found(text, bare)
    if not found:
        return text
    rest = _END.split(found[2], maxsplit=1)[0]
    return found[0] + (_shown(rest, _IN_TEXT) if _SCHEME.search(rest) else rest)


def _found(text: str, bare: Pattern[str]) -> tuple[str, str, str] | None:
    """Return (what precedes, user and password, the rest) of the first address in a text, also if it is percent-encoded."""
    scheme, alone = _SCHEME.search(text), bare.search(text) if "@" in text else None
    if alone and not (scheme and scheme.start() <= alone.start(1)):
        return text[: alone.start(1)], _ENCODED_COLON.sub(r"\1:", alone[1]), text[alone.end() :]
    if scheme:
        return text[: scheme.end()], *_parts(text[scheme.end() :])
    decoded = urllib.parse.unquote(text)
    return _found(decoded, bare) if decoded != text else None


def _parts(address: str) -> tuple[str, str]:
    """Return (user and password, the rest) of an address without its scheme. The password can contain @, /, ? or #, which should have been quoted."""
    host = _HOST_END.split(address, maxsplit=1)[0]
    if "@" not in host and _ENCODED_AT.search(host):
        return _parts(urllib.parse.unquote(host) + address[len(host) :])
    account, at, name = host.rpartition("@")
    if not (_SURE_HOST if at else _HOST_AND_PORT).fullmatch(name):
        found = re.match(rf"(?s)(.*){_NO_DIGEST}", _NEXT.split(address, maxsplit=1)[0])
        account, at = (found[1], "@") if found else ("", "")
    return account, address[len(account + at) :]
