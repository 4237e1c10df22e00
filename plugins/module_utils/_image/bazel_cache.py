# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that keeps Bazel's work: a cache as `--remote_cache=http://…` asks for it, on loopback, in a directory that outlives a failed build.

The protocol is Bazel's HTTP caching protocol: PUT and GET of /cas/<SHA-256> (content, checked here) and /ac/<SHA-256> (results of actions).
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import re
import tempfile
import threading
from collections.abc import Iterator

_PATH = re.compile(r"^/(cas|ac)/([0-9a-f]{64})$")
_PART_BYTES = 1 << 20


@contextlib.contextmanager
def serving(directory: str, limit_mib: int) -> Iterator[str]:
    """Serve the cache below directory while the block runs; gives its URL. What was used longest ago goes first where it grew beyond limit_mib."""
    for kind in ("cas", "ac"):
        os.makedirs(os.path.join(directory, kind), exist_ok=True)
    for left in os.scandir(directory):
        if left.is_file():
            os.unlink(left)
    _shrink(directory, limit_mib << 20)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"directory": directory}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        _shrink(directory, limit_mib << 20)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    directory = ""

    def do_GET(self) -> None:
        """Give what is there, and note that it was used."""
        path = self._path() or ""
        try:
            with open(path, "rb") as stream:
                os.utime(path)
                self.send_response(200)
                self.send_header("Content-Length", str(os.fstat(stream.fileno()).st_size))
                self.end_headers()
                while self.command == "GET":
                    part = stream.read(_PART_BYTES)
                    if not part:
                        break
                    self.wfile.write(part)
        except FileNotFoundError:
            self._answer(404)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        """Take it whole or not at all; content that is not what its name says is refused."""
        path, left, digest = self._path(), int(self.headers.get("Content-Length") or 0), hashlib.sha256()
        if path is None:
            self._answer(400)
            return
        try:
            handle, staged = tempfile.mkstemp(dir=self.directory)
        except OSError:
            self._refuse()
            return
        try:
            with os.fdopen(handle, "wb") as stream:
                while left:
                    part = self.rfile.read(min(left, _PART_BYTES))
                    if not part:
                        return
                    digest.update(part)
                    stream.write(part)
                    left -= len(part)
            if f"{os.sep}cas{os.sep}" in path and digest.hexdigest() != os.path.basename(path):
                self._answer(400)
                return
            os.replace(staged, path)
            self._answer(200)
        except OSError:
            self._refuse()
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(staged)

    def _refuse(self) -> None:
        """Nothing more can be kept here; a build goes on without."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self._answer(507)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing for each of a million requests."""

    def _path(self) -> str | None:
        found = _PATH.match(self.path)
        return os.path.join(self.directory, found[1], found[2]) if found else None

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _shrink(directory: str, limit_bytes: int) -> None:
    files = []
    for folder, _names, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                state = os.stat(os.path.join(folder, name))
                files.append((state.st_mtime, state.st_size, os.path.join(folder, name)))
    size = sum(each[1] for each in files)
    for _used, bytes_, path in sorted(files):
        if size <= limit_bytes:
            break
        os.unlink(path)
        size -= bytes_
