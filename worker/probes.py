"""/readyz and /healthz for the kubelet, in the worker's own event loop."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

__all__ = ["probes"]


async def probes(port: int, is_ready: Callable[[], bool]) -> AbstractAsyncContextManager[asyncio.Server]:
    """Serve on `port` of every address, as the kubelet calls the pod's. 503 until ready."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readline()
        path = request.split(b" ")[1:2]
        status = {b"/healthz": "200 OK", b"/readyz": "200 OK" if is_ready() else "503 Service Unavailable"}
        line = status.get(path[0] if path else b"", "404 Not Found")
        writer.write(f"HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, port=port, limit=4096)
