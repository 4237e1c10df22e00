# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A SavedModel of 200 bytes that returns its input, so that a server creates its first session and logs which instructions it leaves unused."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.protobuf import held, whole

_FLOAT, _PRODUCER = 1, 27


def saved_model() -> bytes:
    """Return the bytes of its saved_model.pb. Fields by the numbers of TensorFlow's saved_model.proto, meta_graph.proto and graph.proto."""
    dtype = _attribute("dtype", whole(6, _FLOAT))
    placeholder = held(1, b"x") + held(2, b"Placeholder") + dtype + _attribute("shape", held(7, held(2, whole(1, -1))))
    identity = held(1, b"y") + held(2, b"Identity") + held(3, b"x") + _attribute("T", whole(6, _FLOAT))
    graph = held(1, placeholder) + held(1, identity) + held(4, whole(1, _PRODUCER))
    signature = (
        held(1, _entry("x", _tensor("x:0")))
        + held(2, _entry("y", _tensor("y:0")))
        + held(3, b"tensorflow/serving/predict")
    )
    information = held(4, b"serve")
    return whole(1, 1) + held(2, held(1, information) + held(2, graph) + held(5, _entry("serving_default", signature)))


def _tensor(name: str) -> bytes:
    return held(1, name.encode()) + whole(2, _FLOAT) + held(3, held(2, whole(1, -1)))


def _attribute(name: str, value: bytes) -> bytes:
    return held(5, _entry(name, value))


def _entry(key: str, value: bytes) -> bytes:
    return held(1, key.encode()) + held(2, value)
