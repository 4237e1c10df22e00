# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of option values. Each error contains the option, the value and what is allowed."""

from __future__ import annotations

import difflib
import math
import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypedDict, TypeVar

from ansible_collections.tfserving.fleet.plugins.module_utils._core import urls
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError

_Value = TypeVar("_Value")
_Path = TypeVar("_Path", str, "str | None")


class Option(TypedDict, total=False):
    """The keys of an argument spec's entry that these checks read."""

    type: str
    elements: str
    choices: list[Any]
    options: dict[str, Option]
    no_log: bool
    required: bool


Specification = Mapping[str, Option]

# No one needs more. Timers of sockets and processes overflow not far above.
LONGEST_S = 7 * 86400
_MODE = re.compile(r"(0o)?[0-7]{1,4}|0[0-7]{4}|[ugoa]*([-+=]([rwxXst]*|[ugo]))+(,[ugoa]*([-+=]([rwxXst]*|[ugo]))+)*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MOST_MODE = 0o7777
_TRUTH = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}
# Shorter secrets would hide parts of ordinary words and numbers.
_SHORTEST_SECRET = 4
_PAIR = re.compile(r"[=:]\s*[\"']?([^\s,\"'}]+)")
_SECRET = re.compile(
    r"(?i)(^|_)(password|passwd|pass|pwd|passphrase|secrets?|tokens?|credentials?|creds?|keys?|apikey|auth|dsn|signature|sas|cookie|pat|"
    r"private|jwt|webhook)(_|$)"
    r"|auth_?token|password|secret|apikey|private_?key|access_?key"
)
# A password in an address (RFC 3986, userinfo), an authorization (RFC 9110), a key in a connection string; a signed address; a private key (RFC 7468),
# a JSON web token (RFC 7519), and the tokens of "Supported secret scanning patterns" (docs.github.com) with a fixed prefix.
_SECRET_VALUE = re.compile(
    r"(?i)://[^/@\s:]*:[^/@\s]+@|\b(bearer|basic)\s+[\w+/.=~-]{4,}|\b(password|pwd|accountkey|sharedaccesskey|api_?key|token|secret)\s*=\s*[^\s;]"
    r"|[?&](sig|signature|x-(?:amz|goog)-signature|key)=\w|-----BEGIN [A-Z ]*PRIVATE KEY|\beyJ[\w-]{8,}\.eyJ[\w-]+|hooks\.slack\.com/services/"
    r"|\b(gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-|hf_|AIza|A[KS]IA)[\w-]{12,}"
)


def looks_secret(name: str, value: Any = None) -> bool:
    """Return whether the name or the value of a variable looks like that of a secret."""
    if _SECRET.search(name):
        return True
    return isinstance(value, str) and bool(_SECRET_VALUE.search(value) or urls.has_password(name, value))


def secret_variables(
    environment: Mapping[str, Any], is_vaulted: Callable[[Any], bool] = lambda value: False
) -> dict[str, Any]:
    """Return {name: value} of the environment variables that are never shown: those from a vault, and those that look like secrets."""
    return {
        name: value
        for name, value in environment.items()
        if value is not None and (looks_secret(str(name), value) or is_vaulted(value))
    }


def bounded(name: str, value: Any, minimum: float | None = None, maximum: float | None = None, unit: str = "") -> Any:
    """Return value, an int or a float. Raise FleetError if it is not a number, or outside minimum..maximum (inclusive, None for open)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise FleetError(f"{value!r} is not a number", where=name)
    too_low = minimum is not None and not value >= minimum
    too_high = maximum is not None and not value <= maximum
    if too_low or too_high:
        of = f" {unit}" if unit else ""
        if minimum is not None and maximum is not None:
            allowed = f"{minimum} to {maximum}{of}"
        elif minimum is not None:
            allowed = f"{minimum}{of} or more"
        else:
            allowed = f"{maximum}{of} or less"
        raise FleetError(f"{value!r} is out of range; allowed: {allowed}", where=name)
    return value


def number_of(text: Any, kind: type) -> Any:
    """Return the number or boolean that a text contains (as in inventories from CSV), or text unchanged. kind: int, float or bool."""
    if not isinstance(text, str):
        return text
    if kind is bool:
        return _TRUTH.get(text.strip().lower(), text)
    try:
        return text if "_" in text or math.isnan(float(text)) else kind(text)
    except ValueError:
        return text


def one_of(name: str, value: _Value, allowed: Collection[Any]) -> _Value:
    """Return value. Raise FleetError, with the closest allowed value, if it is not in allowed."""
    if value not in allowed:
        raise FleetError(
            f"{value!r} is not known; allowed: {', '.join(map(str, allowed))}{did_you_mean(value, allowed)}", where=name
        )
    return value


def absolute_path(name: str, value: _Path) -> _Path:
    """Return value, a path or None. Raise FleetError if it is relative: the working directory of a module is undefined."""
    if value is not None and not posixpath.isabs(value):
        raise FleetError(f"{value!r} is not an absolute path", where=name)
    one_line(name, value or "")
    return value


def one_line(name: str, value: str) -> None:
    """Raise FleetError for a text with control characters, which could add lines to logs and configurations."""
    if _CONTROL.search(value):
        raise FleetError(f"{value!r} has a line break or another control character", where=name, remedy="Remove it.")


def is_at(path: Any, directory: str, rest: str) -> bool:
    """Return whether a path that a host reports is directory/rest. A directory that the host expands (~, $HOME) can be anywhere."""
    found = str(path)
    if not posixpath.isabs(found) or ".." in found.split("/") or _CONTROL.search(found):
        return False
    completed = directory.startswith(("~", "$")) and found.endswith(f"/{rest}")
    return completed or posixpath.normpath(found) == posixpath.normpath(f"{directory}/{rest}")


def file_mode(name: str, value: _Value) -> _Value:
    """Return a file mode (an int, a text for chmod, or None). Raise FleetError if it is invalid."""
    fits = (
        0 <= value <= _MOST_MODE
        if isinstance(value, int) and not isinstance(value, bool)
        else isinstance(value, str) and _MODE.fullmatch(value)
    )
    if value is not None and not fits:
        raise FleetError(
            f"{value!r} is not a valid file mode; allowed: octal digits in quotes, such as '0644', or symbols, such as u=rw,g=r",
            where=name,
        )
    return value


def did_you_mean(value: object, allowed: Iterable[object]) -> str:
    """Return '; did you mean …?' with the closest value, or the empty string."""
    close = difflib.get_close_matches(str(value), [str(item) for item in allowed], n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def unusable(specification: Specification, values: Mapping[str, Any] | None, where: str = "") -> FleetError | None:
    """Return a FleetError about the first infinite number or path with a NUL in values (a dict), or None.

    The content of a mapping without options is user data and is not checked.
    """
    for name, option in specification.items():
        value, place = (values or {}).get(name), where + name
        items = (
            [(f"{place}[{number}]", item) for number, item in enumerate(value)]
            if isinstance(value, list)
            else [(place, value)]
        )
        for at, item in items:
            if _is_endless(item, may_be_text="float" in (option.get("type"), option.get("elements"))):
                return FleetError(f"{item!r} is not a finite number", where=at)
            if "path" in (option.get("type"), option.get("elements")) and "\0" in str(item):
                return FleetError("it contains a NUL character, which no file name can contain", where=at)
            fault = (
                unusable(option["options"], item, f"{at}.")
                if option.get("options") and isinstance(item, dict)
                else None
            )
            if fault:
                return fault
    return None


def _is_endless(value: Any, may_be_text: bool) -> bool:
    try:
        return isinstance(value, (float, str) if may_be_text else float) and not math.isfinite(float(value))
    except ValueError:
        return False


def refuse(specification: Specification, values: Mapping[str, Any] | None) -> None:
    """Raise FleetError for the first of values (a dict) that has the wrong type or is unusable."""
    fault = wrong_type(specification, values) or unusable(specification, values)
    if fault:
        raise fault


def secrets_in(specification: Specification, values: Mapping[str, Any] | None) -> set[str]:
    """Return the secret texts in values (a dict), including those under misspelled keys of a mapping with secrets."""
    found = set()
    for name, option in specification.items():
        value = (values or {}).get(name)
        inner = option.get("options") or {}
        if _holds_secrets(option) and not isinstance(value, dict):
            found |= _texts(value)
            if option.get("type") == "dict" and isinstance(value, str):
                found |= _texts(_PAIR.findall(value))  # Ansible parses key=value, and prints the result.
        elif isinstance(value, dict):
            for key, part in value.items():
                if key not in inner and (_holds_secrets(option) or looks_secret(str(key))):
                    found |= _texts(part)
    return found


def _holds_secrets(option: Option) -> bool:
    return bool(option.get("no_log")) or any(part.get("no_log") for part in (option.get("options") or {}).values())


def _texts(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {text for part in value.values() for text in _texts(part)}
    if isinstance(value, (list, tuple)):
        return {text for part in value for text in _texts(part)}
    return (
        {str(value)}
        if len(str(value)) >= _SHORTEST_SECRET and value is not None and not isinstance(value, bool)
        else set()
    )


TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "dict": "a mapping",
    "list": "a list",
    "str": "a text",
    "path": "a text",
}


def wrong_type(specification: Specification, values: Mapping[str, Any] | None, where: str = "") -> FleetError | None:
    """Return a FleetError about the first of values (a dict) of another type than in specification, or None. Secrets are not checked."""
    for name, option in specification.items():
        value = (values or {}).get(name)
        if value is None or option.get("no_log"):
            continue
        place, wanted = where + name, option.get("type", "str")
        if not is_a(wanted, value) and _holds_secrets(option):
            return FleetError(f"it is not {TYPES[wanted]}", where=place)
        if not is_a(wanted, value):
            return FleetError(f"{value!r} is not {TYPES[wanted]}", where=place)
        elements = option.get("elements") if wanted == "list" else None
        items = [(place, value)] if wanted == "dict" else []
        if elements:
            listed = value if isinstance(value, (list, tuple)) else str(value).split(",")
            items = [(f"{place}[{number}]", item) for number, item in enumerate(listed)]
        for at, item in items:
            if elements and not is_a(elements, item):
                return FleetError(f"{item!r} is not {TYPES[elements]}", where=at)
            if option.get("options") and isinstance(item, dict):
                fault = wrong_type(option["options"], item, f"{at}.")
                if fault:
                    return fault
    return None


def is_a(wanted: str, value: Any) -> bool:
    """Return whether value fits the type. As in Ansible, a text can be a number, a list or a mapping; unlike there, not everything is a text."""
    if wanted in ("str", "path"):
        return not isinstance(value, (list, tuple, dict))
    if wanted in ("int", "float"):
        try:
            number = float(value)
        except (TypeError, ValueError):
            return False
        return not isinstance(value, bool) and (wanted == "float" or number.is_integer())
    if wanted == "bool":
        return value in (0, 1) or str(value).lower() in (
            "yes",
            "no",
            "on",
            "off",
            "true",
            "false",
            "y",
            "n",
            "t",
            "f",
            "1",
            "0",
        )
    if wanted == "dict":
        return isinstance(value, dict) or (isinstance(value, str) and ("=" in value or value.lstrip().startswith("{")))
    if wanted == "list":
        return isinstance(value, (list, tuple, str, int, float))
    return True
