# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server whose service time is known, for tests and benchmarks of the load generator: gRPC (grpcio's own server) and REST.

It prints {"grpc": port, "rest": port} and serves until SIGTERM, when it prints what it saw: {"served", "most_at_once", "bodies": digests, "last"}.
SIGUSR1 stalls it for --stall-ms. Requests beyond --workers queue, as they do in a model server.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import signal
import time

import grpc


class Service:
    """What both protocols do with a body: wait for a worker, take the service time, remember what was seen."""

    def __init__(self, options):
        self.options = options
        self.workers = asyncio.Semaphore(options.workers)
        self.seen = {"served": 0, "most_at_once": 0, "bodies": set(), "last": ""}
        self.at_once = 0

    async def answer(self, body):
        """Whether the request is served; every --refuse-every'th is refused at once."""
        self.seen["served"] += 1
        if self.options.digest:
            self.seen["bodies"].add(hashlib.sha256(body).hexdigest())
            self.seen["last"] = body.hex() if len(body) < 10000 else ""
        if self.options.refuse_every and self.seen["served"] % self.options.refuse_every == 0:
            return False
        self.at_once += 1
        self.seen["most_at_once"] = max(self.at_once, self.seen["most_at_once"])
        async with self.workers:
            if self.options.busy_ms:
                end = time.perf_counter() + self.options.busy_ms / 1000
                while time.perf_counter() < end:
                    pass
            if self.options.service_ms:
                await asyncio.sleep(self.options.service_ms / 1000)
        self.at_once -= 1
        return True

    async def grpc_answer(self, body, context):
        """A gRPC handler over bytes."""
        if not await self.answer(body):
            await context.abort(
                getattr(grpc.StatusCode, self.options.refusal),
                "The batch scheduling queue to which this task was submitted is full",
            )
        return b"." * self.options.answer_bytes

    async def rest_connection(self, reader, writer):
        """An HTTP/1.1 connection that is kept alive."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                body = await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
                answer = b"." * self.options.answer_bytes
                if not await self.answer(body):
                    writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
                elif self.options.chunked:
                    writer.write(
                        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
                        % (len(answer), answer)
                    )
                else:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


class Any(grpc.GenericRpcHandler):
    """All methods but GetModelMetadata lead to one handler of bytes."""

    def __init__(self, handler, metadata):
        self.handler = grpc.unary_unary_rpc_method_handler(handler)
        self.metadata = grpc.unary_unary_rpc_method_handler(lambda _body, _context: bytes.fromhex(metadata))

    def service(self, handler_call_details):
        """See grpc."""
        return self.metadata if handler_call_details.method.endswith("/GetModelMetadata") else self.handler


async def main():
    """Serve."""
    parser = argparse.ArgumentParser()
    numbers = {
        "service-ms": 0.0,
        "busy-ms": 0.0,
        "stall-ms": 500.0,
        "workers": 1000,
        "refuse-every": 0,
        "answer-bytes": 100,
        "max-streams": 1000,
    }
    for option, default in dict(numbers, metadata="", refusal="UNAVAILABLE").items():
        parser.add_argument(f"--{option}", type=type(default), default=default)
    for option in ("chunked", "digest"):
        parser.add_argument(f"--{option}", action="store_true")
    options = parser.parse_args()
    service, stop = Service(options), asyncio.Event()
    server = grpc.aio.server(
        options=[("grpc.max_receive_message_length", -1), ("grpc.max_concurrent_streams", options.max_streams)]
    )
    server.add_generic_rpc_handlers((Any(service.grpc_answer, options.metadata),))
    ports = {"grpc": server.add_insecure_port("127.0.0.1:0")}
    await server.start()
    rest = await asyncio.start_server(service.rest_connection, "127.0.0.1", 0)
    ports["rest"] = rest.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: time.sleep(options.stall_ms / 1000))
    print(json.dumps(ports), flush=True)
    await stop.wait()
    print(json.dumps(dict(service.seen, bodies=sorted(service.seen["bodies"]))), flush=True)
    await server.stop(0.1)


if __name__ == "__main__":
    asyncio.run(main())
