# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections of the embedded server's REST API, over real sockets, as their clients see them."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._embedded.server.http_connections import (
    Connection,
    Connections,
)

# Far less than the 60 s that Linux remembers a connection whose client did not close it (TCP_TIMEWAIT_LEN in net/tcp.h).
SOON_S = 20


@pytest.fixture(name="pair")
def connected_pair():
    """(client's socket, server's socket)"""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), SOON_S)
        server, _address = listener.accept()
    with client, server:
        yield client, server


def fill(client):
    """Send until neither side has room for more."""
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            client.send(b" " * 65536)
    client.settimeout(SOON_S)


def test_client_whose_bytes_find_no_room_learns_of_the_end(pair):
    client, server = pair
    connections = Connections(most=2, most_bytes=1 << 30, timeout_s=SOON_S)
    connection = Connection(server, connections)
    connections.admit(connection)
    client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
    head = connection.head()
    fill(client)
    time.sleep(1)  # The kernels have seen by then that there is no room, and remember it after the end.
    connections.shed()
    with pytest.raises(ConnectionError):
        connection.body(head)
    connection.close()
    with pytest.raises(ConnectionError):
        client.sendall(b" " * (64 << 20))
