# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache of a build on the loopback, which every account of the host can reach: it answers whoever knows the build's address alone, and keeps its limit."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.parse

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._image import bazel_cache

KEY = "ac/" + "1" * 64


def ask(address, method, path, body=None, headers=None):
    """(status, content) of a request."""
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_who_does_not_know_the_address(tmp_path):
    with bazel_cache.serving(str(tmp_path), 10) as url:
        place = urllib.parse.urlsplit(url)
        assert ask(place.netloc, "PUT", f"{place.path}/{KEY}", b"right")[0] == 200
        for path in (f"/{KEY}", f"//{KEY}", f"/{'x' * 43}/{KEY}", f"{place.path[:-1]}/{KEY}", f"{place.path}/../{KEY}"):
            assert ask(place.netloc, "PUT", path, b"forged")[0] == 400
            assert ask(place.netloc, "GET", path)[0] == 404
        assert ask(place.netloc, "GET", f"{place.path}/{KEY}") == (200, b"right")
    with bazel_cache.serving(str(tmp_path), 10) as other:
        assert urllib.parse.urlsplit(other).path != place.path and len(place.path) > 40


def test_limit(tmp_path):
    def kept():
        return sum(os.path.getsize(path) for path in tmp_path.rglob("*") if path.is_file())

    with bazel_cache.serving(str(tmp_path), 10) as url:
        place = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(place.netloc, timeout=30)
        connection.putrequest("PUT", f"{place.path}/{KEY}")
        connection.putheader("Content-Length", str(300 << 20))
        connection.endheaders()
        assert connection.getresponse().status == 413
        for number in range(30):
            content = bytes([number]) * (1 << 20)
            path = f"{place.path}/cas/{hashlib.sha256(content).hexdigest()}"
            assert ask(place.netloc, "PUT", path, content)[0] == 200
            assert kept() <= 10 << 20
        assert ask(place.netloc, "GET", path) == (200, content)


@pytest.mark.parametrize(
    "headers",
    [{"Content-Length": "+5"}, {"Content-Length": "-1"}, {"Content-Length": "5_0"}, {"Transfer-Encoding": "chunked"}],
)
def test_bodies_of_no_known_length(tmp_path, headers):
    with bazel_cache.serving(str(tmp_path), 10) as url:
        place = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(place.netloc, timeout=30)
        connection.putrequest("PUT", f"{place.path}/{KEY}")
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.getresponse().status == 400
        assert ask(place.netloc, "GET", f"{place.path}/{KEY}")[0] == 404
