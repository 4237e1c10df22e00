# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the messages of textproto.reader as text, and in the wire format."""

from __future__ import annotations

import re
import struct
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import protobuf
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.textproto import schema
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.textproto.reader import Verbatim
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.textproto.schema import Kind, Message

# Messages on several lines; all others are on one line.
_BLOCKS = ("model_config_list", "config")
_ESCAPED = re.compile(r'[\x00-\x1f"\\\x7f]')
_SPELT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


def text(message: Message, indent: str = "") -> str:
    """Return the text of a message."""
    return "".join(f"{indent}{line}\n" for field, value in message for line in _lines(field, value))


def encode(message: Message, kind: Kind, where: str | None = None) -> bytes:
    """Return the bytes of a message. kind: its full name. Raise FleetError for a field that the schema does not know."""
    known, content = schema.fields(kind), b""
    for field, value in message:
        if field not in known:
            raise FleetError(
                f"the field {field!r} is unknown and cannot be sent to the server",
                where=where,
                remedy="Edit the file by hand.",
            )
        number, of, _repeated = known[field]
        if schema.is_message(of):
            content += protobuf.held(number, encode(value, of, where))
        elif of in ("string", "bytes"):
            content += protobuf.held(number, value.encode() if isinstance(value, str) else value)
        elif of == "double":
            content += protobuf.varint(number << 3 | 1) + struct.pack("<d", value)
        else:
            content += protobuf.whole(
                number, schema.ENUMS[str(of)[len("enum:") :]][value] if isinstance(value, str) else value
            )
    return content


def _lines(field: str, value: Any) -> list[str]:
    if isinstance(value, list):
        inner = [line for name, part in value for line in _lines(name, part)]
        if field in _BLOCKS:
            return [f"{field} {{", *(f"  {line}" for line in inner), "}"]
        return [f"{field} {{ {' '.join(inner)} }}" if inner else f"{field} {{}}"]
    return [f"{field}: {_spelt(value)}"]


def _spelt(value: Any) -> str:
    if isinstance(value, Verbatim):
        return str(value)
    if isinstance(value, bytes):
        return (
            '"'
            + "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03o}" for byte in value)
            + '"'
        )
    if isinstance(value, str):
        return '"' + _ESCAPED.sub(lambda found: _SPELT.get(found.group(), f"\\{ord(found.group()):03o}"), value) + '"'
    return str(value).lower() if isinstance(value, (bool, float)) else str(value)
