"""Kept-alive TLS clients as KEDA's: one connection and one filter each.

`python -m lab.bench.saturation.clients` reads its job on stdin:
{"port", "authority", "token", "paths", "seconds"} and, for requests at even distances, "rate".
"""

import asyncio
import json
import ssl
import sys
import time
from array import array
from collections import deque
from typing import Any, cast

import uvloop

__all__ = ["main"]


class Client(asyncio.Protocol):
    """An answer ends with the last sign of its JSON; nothing else in it ends so."""

    def __init__(self, path: str, token: str) -> None:
        lines = (f"GET {path} HTTP/1.1", "Host: saturation", f"Authorization: Bearer {token}", "", "")
        self.request = "\r\n".join(lines).encode()
        self.seen = bytearray()
        self.due: deque[float] = deque()
        self.latencies_s = array("d")
        self.again = False
        # The event loop would swallow an exception.
        self.failure = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is no asyncio.Transport.
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.failure = self.failure or f"the server closed a connection: {exc}"

    def ask(self, due: float) -> None:
        self.due.append(due)
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.seen += data
        if not self.seen.endswith(b"}"):
            return
        whole = self.seen.count(b"HTTP/1.1 200 ")
        if whole != self.seen.count(b"HTTP/1.1 "):
            self.failure = f"want status 200, got {bytes(self.seen[:200])!r}"
            return
        self.seen.clear()
        now = time.monotonic()
        for _ in range(whole):
            self.latencies_s.append(now - self.due.popleft())
        if self.again:
            self.ask(now)


def main() -> None:
    """Print {"latencies_s"} of requests at a rate, or {"answers", "answers_per_s"} of as many as go."""
    print(json.dumps(uvloop.run(_work(json.load(sys.stdin)))))


async def _work(job: dict[str, Any]) -> dict[str, Any]:
    clients = await _connected(job)
    for client in clients:
        client.ask(time.monotonic())
    await _all_answered(clients)
    for client in clients:
        client.latencies_s = array("d")
    if "rate" in job:
        await _paced(clients, job["rate"], job["seconds"])
        return {"latencies_s": [each for client in clients for each in client.latencies_s]}
    return await _flat_out(clients, job["seconds"])


async def _connected(job: dict[str, Any]) -> list[Client]:
    loop = asyncio.get_running_loop()
    context = ssl.create_default_context(cafile=job["authority"])
    clients = []
    for path in job["paths"]:
        _, client = await loop.create_connection(
            lambda path=path: Client(path, job["token"]), "127.0.0.1", job["port"], ssl=context
        )
        clients.append(client)
    return clients


async def _flat_out(clients: list[Client], seconds: float) -> dict[str, Any]:
    began = time.monotonic()
    for client in clients:
        client.again = True
        client.ask(began)
    await asyncio.sleep(seconds)
    answers = sum(len(client.latencies_s) for client in _sound(clients))
    return {"answers": answers, "answers_per_s": answers / (time.monotonic() - began)}


async def _paced(clients: list[Client], rate: float, seconds: float) -> None:
    """Requests leave at even distances; a late one counts from when it was due."""
    began = time.monotonic()
    for number in range(int(rate * seconds)):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        clients[number % len(clients)].ask(due)
    await _all_answered(clients)


async def _all_answered(clients: list[Client]) -> None:
    while any(client.due for client in _sound(clients)):  # noqa: ASYNC110 - polling costs the clients less
        await asyncio.sleep(0.1)


def _sound(clients: list[Client]) -> list[Client]:
    for client in clients:
        if client.failure:
            raise RuntimeError(client.failure)
    return clients


if __name__ == "__main__":
    main()
