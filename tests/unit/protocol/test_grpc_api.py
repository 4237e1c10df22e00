# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Codes against gRPC's own, and the HTTP statuses of TensorFlow Serving's REST API."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import grpc_api


def test_codes_are_those_of_grpc():
    grpc = pytest.importorskip("grpc")
    assert [(number, grpc_api.code_name(number)) for number in range(17)] == sorted(
        (code.value[0], code.name) for code in grpc.StatusCode
    )
    assert grpc_api.code_name(17) == grpc_api.code_name(-1) == "UNKNOWN"


@pytest.mark.parametrize(
    ("code", "http", "taken_for"),
    [
        ("INVALID_ARGUMENT", 400, "INVALID_ARGUMENT"),
        ("FAILED_PRECONDITION", 400, "INVALID_ARGUMENT"),
        ("OUT_OF_RANGE", 400, "INVALID_ARGUMENT"),
        ("UNAUTHENTICATED", 401, "UNAUTHENTICATED"),
        ("PERMISSION_DENIED", 403, "PERMISSION_DENIED"),
        ("NOT_FOUND", 404, "NOT_FOUND"),
        ("ALREADY_EXISTS", 409, "ABORTED"),
        ("ABORTED", 409, "ABORTED"),
        ("RESOURCE_EXHAUSTED", 429, "RESOURCE_EXHAUSTED"),
        ("CANCELLED", 499, "CANCELLED"),
        ("INTERNAL", 500, "INTERNAL"),
        ("UNKNOWN", 500, "INTERNAL"),
        ("DATA_LOSS", 500, "INTERNAL"),
        ("UNIMPLEMENTED", 501, "UNIMPLEMENTED"),
        ("UNAVAILABLE", 503, "UNAVAILABLE"),
        ("DEADLINE_EXCEEDED", 504, "DEADLINE_EXCEEDED"),
    ],
)
def test_a_code_becomes_an_http_status_and_a_code_again(code, http, taken_for):
    assert (grpc_api.http_of_code(code), grpc_api.code_of_http(http)) == (http, taken_for)


def test_a_foreign_page_is_none_of_the_servers_answers():
    assert [grpc_api.code_without_status(http) for http in (404, 400, 502, 418)] == [
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "UNKNOWN",
    ]
