# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file that lists a server's models (model_config_list): read, changed for one model, and as the message that lets a server take it.

A parsed message is a list of (field, value); a value is text, a number, a bool or another message.
"""

from __future__ import annotations

import re

from ansible_collections.tfserving.fleet.plugins.module_utils.common.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils.model import protobuf

_TOKEN = re.compile(r"""\s+|\#[^\n]*|(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<number>-?[0-9]+)"""
                    r"""|(?P<mark>[{}:<>;,\[\]])""")
_ESCAPED, _PLAIN = re.compile(r"\\(.)"), {"n": "\n", "t": "\t", "r": "\r"}
# The fields that are kept, with their numbers and kinds: another one is refused rather than lost.
_LATEST, _ALL, _SPECIFIC = {"num_versions": (1, int)}, {}, {"versions": (1, int)}
_POLICY = {"latest": (100, _LATEST), "all": (101, _ALL), "specific": (102, _SPECIFIC)}
_LABEL = {"key": (1, str), "value": (2, int)}
_MODEL = {"name": (1, str), "base_path": (2, str), "model_platform": (4, str), "model_version_policy": (7, _POLICY), "version_labels": (8, _LABEL)}
_SERVER = {"model_config_list": (1, {"config": (1, _MODEL)})}


def parse(text, where):
    """The parsed message of the file's text. Raises FleetError."""
    tokens, position = [], 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if not found:
            raise FleetError(f"line {text.count(chr(10), 0, position) + 1}: {text[position]!r} was not expected", where=where)
        if found.lastgroup:
            tokens.append((found.lastgroup, found.group(), text.count("\n", 0, position) + 1))
        position = found.end()
    message, rest = _message(tokens, _SERVER, None, where)
    if rest:
        raise FleetError(f"line {rest[0][2]}: {rest[0][1]!r} was not expected", where=where)
    return message


def names(message):
    """The models that are listed."""
    return [dict(one).get("name", "") for listed in _values(message, "model_config_list") for one in _values(listed, "config")]


def labels(message, name):
    """{label: version} of a model. Raises FleetError where the model is not listed."""
    return {dict(one).get("key", ""): dict(one).get("value", 0) for one in _values(_model(message, name), "version_labels")}


def specific(message, name):
    """The versions that a model's policy lists, or None where it has another policy."""
    for policy in _values(_model(message, name), "model_version_policy"):
        for chosen in _values(policy, "specific"):
            return [value for field, value in chosen if field == "versions"]
    return None


def with_versions(message, name, numbers):
    """The message where a model's policy lists these versions."""
    return _changed(message, name, "model_version_policy", [[("specific", [("versions", number) for number in sorted(numbers)])]])


def with_label(message, name, label, version):
    """The message where a label of a model names this version."""
    given = dict(labels(message, name), **{label: version})
    return _changed(message, name, "version_labels", [[("key", key), ("value", value)] for key, value in sorted(given.items())])


def text(message, indent=""):
    """The text of a parsed message."""
    lines = []
    for field, value in message:
        if isinstance(value, list):
            lines.append(f"{indent}{field} {{\n{text(value, indent + '  ')}{indent}}}\n")
        elif isinstance(value, str):
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            lines.append(f'{indent}{field}: "{escaped}"\n')
        else:
            lines.append(f"{indent}{field}: {value}\n")
    return "".join(lines)


def reload_request(message):
    """The bytes of a ReloadConfigRequest with the message."""
    return protobuf.held(1, _encoded(message, _SERVER))


def _encoded(message, known):
    content = b""
    for field, value in message:
        number, kind = known[field]
        content += protobuf.whole(number, value) if kind is int else protobuf.held(number, value.encode() if kind is str else _encoded(value, kind))
    return content


def _model(message, name):
    for listed in _values(message, "model_config_list"):
        for one in _values(listed, "config"):
            if ("name", name) in one:
                return one
    raise FleetError(f"the model {name} is not listed", where="config_file", remedy="Name the file that the server was started with.")


def _values(message, field):
    return [value for name, value in message if name == field]


def _changed(message, name, field, values):
    old = _model(message, name)
    place = next((position for position, item in enumerate(old) if item[0] == field), len(old))
    new = old[:place] + [(field, value) for value in values] + [item for item in old[place:] if item[0] != field]
    return [(key, [(inner, new if one is old else one) for inner, one in value]) for key, value in message]


def _message(tokens, known, end, where):
    """(parsed message, the tokens behind it)."""
    found = []
    while tokens:
        kind, word, line = tokens[0]
        if word == end:
            return found, tokens[1:]
        if word in (",", ";") and found:
            tokens = tokens[1:]
            continue
        if kind != "word" or word not in known:
            raise FleetError(f"line {line}: {word!r} was not expected; known here: {', '.join(known) or 'nothing'}", where=where,
                             remedy="Change the label by hand, in the file.")
        value, tokens = _value(tokens[1:], known[word][1], line, where)
        found += [(word, one) for one in (value if isinstance(value, tuple) else (value,))]
    if end:
        raise FleetError(f"it ends without {end!r}", where=where)
    return found, tokens


def _value(tokens, kind, line, where):
    if tokens and tokens[0][1] == ":":
        tokens = tokens[1:]
    if tokens and tokens[0][1] == "[" and kind is int:
        closing = next((position for position, token in enumerate(tokens) if token[1] == "]"), None)
        if closing is not None:
            return tuple(_value([token], int, line, where)[0] for token in tokens[1:closing] if token[1] != ","), tokens[closing + 1:]
    if tokens and isinstance(kind, dict) and tokens[0][1] in "{<":
        return _message(tokens[1:], kind, "}" if tokens[0][1] == "{" else ">", where)
    if tokens and kind is int and tokens[0][0] == "number":
        return int(tokens[0][1]), tokens[1:]
    if tokens and kind is str and tokens[0][0] == "text":
        value = ""
        while tokens and tokens[0][0] == "text":
            value, tokens = value + _ESCAPED.sub(lambda found: _PLAIN.get(found.group(1), found.group(1)), tokens[0][1][1:-1]), tokens[1:]
        return value, tokens
    raise FleetError(f"line {line}: the value cannot be read", where=where)
