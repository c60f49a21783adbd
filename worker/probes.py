"""/readyz and /healthz for the kubelet, /metrics for Prometheus, in the worker's own event loop."""

import asyncio
from contextlib import AbstractAsyncContextManager

from worker.metrics import Tally

__all__ = ["probes"]

TEXT = "text/plain; version=0.0.4; charset=utf-8"


async def probes(port: int, tally: Tally) -> AbstractAsyncContextManager[asyncio.Server]:
    """Serve on `port` of every address, as the kubelet calls the pod's. 503 until ready."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readline()
        status, body = _answer(tally, request.split(b" ")[1:2])
        head = f"HTTP/1.1 {status}\r\nContent-Type: {TEXT}\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, port=port, limit=4096)


def _answer(tally: Tally, path: list[bytes]) -> tuple[str, bytes]:
    match path:
        case [b"/healthz"]:
            return "200 OK", b""
        case [b"/readyz"]:
            return ("200 OK" if tally.ready else "503 Service Unavailable"), b""
        case [b"/metrics"]:
            return "200 OK", tally.text().encode()
        case _:
            return "404 Not Found", b""
