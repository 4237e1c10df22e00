# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that keeps Bazel's work: a server for `--remote_cache=http://…` on loopback, with a directory that outlives a failed build.

The protocol is Bazel's HTTP caching protocol: PUT and GET of /cas/<SHA-256> (content, checked here) and /ac/<SHA-256> (results of actions), below a path
that is random for each build, because every account of the host can connect to the loopback.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.server
import os
import re
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterator

_PATH = re.compile(r"/([\w-]+)/(cas|ac)/([0-9a-f]{64})", re.ASCII)
_LENGTH = re.compile(r"[0-9]{1,15}")
_PART_BYTES = 1 << 20


@contextlib.contextmanager
def serving(directory: str, limit_mib: int) -> Iterator[str]:
    """Serve the cache below directory while the block runs, and yield its URL. Above limit_mib, the least recently used files are removed."""
    for kind in ("cas", "ac"):
        os.makedirs(os.path.join(directory, kind), exist_ok=True)
    for left in os.scandir(directory):
        if left.is_file():
            os.unlink(left)
    place = {"directory": directory, "secret": secrets.token_urlsafe(32), "room": _Room(directory, limit_mib << 20)}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), place))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/{place['secret']}"
    finally:
        server.shutdown()
        server.server_close()
        _shrink(directory, limit_mib << 20)


class _Room:
    """The free space within the cache's limit."""

    def __init__(self, directory: str, limit_bytes: int) -> None:
        self._directory, self._limit, self._lock = directory, limit_bytes, threading.Lock()
        self._used = _shrink(directory, limit_bytes)

    def take(self, size: int) -> bool:
        """Make room for a file by removing the least recently used ones. Return False if the file is larger than the limit."""
        with self._lock:
            if size > self._limit:
                return False
            if self._used + size > self._limit:
                self._used = _shrink(self._directory, max(0, self._limit * 9 // 10 - size))
            self._used += size
            return True


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 600
    directory, secret = "", ""
    room: _Room

    def do_GET(self) -> None:
        """Return a file, and note its use."""
        path = self._path() or ""
        try:
            with open(path, "rb") as stream:
                os.utime(path)
                self.send_response(200)
                self.send_header("Content-Length", str(os.fstat(stream.fileno()).st_size))
                self.end_headers()
                if self.command == "GET":
                    shutil.copyfileobj(stream, self.wfile, _PART_BYTES)
        except FileNotFoundError:
            self._answer(404)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        """Store a complete file. Content that does not match its name is refused."""
        path, length, digest = self._path(), self.headers.get("Content-Length") or "", hashlib.sha256()
        if path is None or not _LENGTH.fullmatch(length) or not self.room.take(int(length)):
            self.close_connection = True  # The body is not read.
            self._answer(413 if path and _LENGTH.fullmatch(length) else 400)
            return
        left = int(length)
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
        """Report that nothing more can be stored. A build continues without it."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self._answer(507)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a build sends a million requests."""

    def _path(self) -> str | None:
        found = _PATH.fullmatch(self.path)
        if not found or not hmac.compare_digest(found[1], self.secret):
            return None
        return os.path.join(self.directory, found[2], found[3])

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _shrink(directory: str, limit_bytes: int) -> int:
    """Remove the least recently used files above a limit. Return the bytes that remain."""
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
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        size -= bytes_
    return size
