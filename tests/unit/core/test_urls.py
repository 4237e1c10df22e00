# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets in addresses as people write them, in another form than RFC 3986, and texts that only resemble such addresses."""

from __future__ import annotations

import re
import time

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core import options, urls

PASSWORD = "hunter2-Zq"
DIGEST = "sha256:" + "0123456789abcdef" * 4
ADDRESSES = {
    f"user:{PASSWORD}@proxy:3128": "proxy:3128",
    f"user:{PASSWORD}@proxy": "proxy",
    f"user:p%21{PASSWORD}@proxy:3128": "proxy:3128",
    f" user:{PASSWORD}@proxy.example.com/x": " proxy.example.com/x",
    f"user:{PASSWORD}@shard1:3128": "shard1:3128",
    f"//user:{PASSWORD}@proxy/x": "//proxy/x",
    f"user:{PASSWORD}@registry:5000/a/b:1@{DIGEST}": f"registry:5000/a/b:1@{DIGEST}",
    f"user:p@ss/{PASSWORD}@proxy:3128": "proxy:3128",
    f"user:{PASSWORD}@[::1]:3128": "[::1]:3128",
    "ghp-0123456789abcdef@proxy:3128": "proxy:3128",
    f"user%3A{PASSWORD}@proxy:3128": "proxy:3128",
    f"user%3A{PASSWORD}%40proxy%3A3128": "proxy:3128",
    f"https:/user:{PASSWORD}@host/x": "https:/host/x",
    f"https:user:{PASSWORD}@host/x": "https:host/x",
    f"https:///user:{PASSWORD}@host/x": "https:///host/x",
    f"https:\\\\user:{PASSWORD}@host/x": "https:\\\\host/x",
    f"https://user:p@ss/{PASSWORD}@host/x": "https://host/x",
    f"https://user:p@ss?{PASSWORD}@host/x": "https://host/x",
    f"https://user:p@ss#{PASSWORD}@host": "https://host",
    f"HTTPS://USER:{PASSWORD}@HOST/X?Y": "HTTPS://HOST/X",
    f"https%3A%2F%2Fuser%3A{PASSWORD}%40host%2Fx": "https://host/x",
    f"https%253a%252f%252fuser%253a{PASSWORD}%2540host": "https://host",
    f"https://user%3A{PASSWORD}%40host/x": "https://host/x",
    f"https://user:{PASSWORD}%40host/x": "https://host/x",
    f"http://a:bcdefg@h,http://user:{PASSWORD}@g": "http://h,http://g",
    f"https://h/x,https://user:{PASSWORD}@g/y": "https://h/x,https://g/y",
}
INNOCENT = [
    f"name@{DIGEST}",
    f"name:1.25@{DIGEST}",
    f"host:5000/a/b:tag@{DIGEST}",
    "host:5000/a/b:tag@sha256:…",
    f"registry.example.com/a/b@{DIGEST}",
    "a:b@c",
    "serving_default:a:0@c",
    "a@b:c",
    "maintainer:jane@example.com",
    "mailto:jane@example.com",
    "Jane <jane@example.com>",
    "git@github.com:org/repo",
    "/srv/a:b@c",
    "/srv/a:b@c.d/e",
    "/job:localhost/replica:0/device:CPU:0",
    "https://host:80/a@b",
    f"https://host/a/b@{DIGEST}",
    "https://host.example.com:443/@scope/pkg@1.2/x",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_address_in_a_message(address):
    assert urls.public(address) == ADDRESSES[address]


@pytest.mark.parametrize("address", ADDRESSES)
def test_address_in_the_value_of_an_option(address):
    """Alone, within others, and also if only a part of the value is printed."""
    for value in (address, [address], {"https_proxy": address}, f"{address}, {address}"):
        data = {"proxies": value}
        for printed in (str(data), f"no host {address!r}"):
            shown = urls.masked(printed, data)
            assert PASSWORD not in shown and "abcdef@" not in shown and "p%21" not in shown


@pytest.mark.parametrize("text", INNOCENT)
def test_text_that_is_not_an_address(text):
    assert urls.hidden(text) == text
    assert urls.secrets({"signatures": {"x": text}, "image": text}) == set()
    assert not options.looks_secret("LABELS", text)


@pytest.mark.parametrize("text", [one for one in INNOCENT if "sha256" in one or one.startswith(("/", "https:"))])
def test_source_that_contains_no_secret(text):
    assert urls.public(text) == text
    assert urls.secrets({"source": text, "registry": text}) == set()


def test_text_of_others():
    """As Docker Engine words failed requests (net/url, net/http), and as curl and pip do in a build."""
    said = (
        f'Get "https://user:{PASSWORD}@registry.example.com/v2/": proxyconnect tcp: dial user:{PASSWORD}@proxy:3128: refused\n'
        f"curl: (22) HTTPS://u:{PASSWORD}@h/a?sig={PASSWORD}: 404, then https:/u:{PASSWORD}@h/b\n"
        f"Looking in indexes: http://u:{PASSWORD}@a/simple,http://u:{PASSWORD}@b/simple; name:1@{DIGEST} of a:b@c\n"
    )
    assert urls.hidden(said) == (
        'Get "https://registry.example.com/v2/": proxyconnect tcp: dial proxy:3128: refused\n'
        "curl: (22) HTTPS://h/a 404, then https:/h/b\n"
        f"Looking in indexes: http://a/simple,http://b/simple; name:1@{DIGEST} of a:b@c\n"
    )


def test_environment_of_a_server():
    assert options.looks_secret("HTTP_PROXY", f"user:{PASSWORD}@proxy")
    assert options.looks_secret("ADDRESS", f"user:{PASSWORD}@proxy:3128")
    assert not options.looks_secret("ADDRESS", "a:b@c")


@pytest.mark.parametrize("text", ["a" * 300_000, "a:" * 150_000, "a:@" * 10_000, "https://" * 500, "a:b@c:80," * 500])
def test_long_text(text):
    """A quadratic search would take minutes."""
    began = time.process_time()
    urls.hidden(text)
    urls.secrets({"source": text})
    assert re.search("a|h", text) and time.process_time() - began < 30
