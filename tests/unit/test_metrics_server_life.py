"""A whole server in this process, over TLS on loopback, with no broker behind it."""

import asyncio
import gc
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from metrics_server import Config, SaturationServer, listener, protocol
from tests.certificates import certify

TOKEN = "a-token-of-the-tests-0123456789"
GET = f"GET /v1/filters HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
CLIENT_HELLO = bytes.fromhex("160301020001000000")
PATIENCE_S = 20.0


class Running:
    """A server that listens; `send` is one connection to it."""

    def __init__(self, server: SaturationServer, folder: Path) -> None:
        self.server = server
        self.port = server.uvicorn.listener.port
        self.trust = ssl.create_default_context(cafile=folder / "tls.crt")

    async def connect(self, *, tls: bool = True) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self.trust if tls else None)

    async def send(self, data: bytes, *, tls: bool = True, answer: bool = True, reset: bool = False) -> bytes:
        reader, writer = await self.connect(tls=tls)
        if reset:
            at_once = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        writer.write(data)
        seen = await reader.read(1_000) if answer else b""
        writer.transport.abort()
        return seen


def live(folder: Path, scenario: Callable[[Running], Awaitable[None]], **limits: int) -> None:
    """Run `scenario` against a server with these limits, then end it."""
    certify(folder)
    (folder / "tokens").write_text(TOKEN)
    (folder / "filters.json").write_text('{"filters": []}')
    given = {
        "listen": {"host": "127.0.0.1", "port": 0, "certificate": "tls.crt", "key": "tls.key"},
        "token_file": "tokens",
        "broker": {"nodes": ["http://127.0.0.1:1"], "vhost": "surge"},
        "sample_s": 1,
        "stale_s": 9,
        "filters_file": "filters.json",
        "grace_s": 0,
        "limits": limits,
    }
    (folder / "config.json").write_text(json.dumps(given))

    async def main() -> None:
        server = SaturationServer(Config.read(folder / "config.json"))
        serving = asyncio.create_task(server.run())
        await until(lambda: server.uvicorn.started)
        try:
            await scenario(Running(server, folder))
        finally:
            server.begin_drain()
            await serving

    uvloop.run(main())


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not check():  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.02)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def protocols() -> int:
    """Connections that are still in memory."""
    gc.collect()
    return sum(isinstance(each, HttpToolsProtocol) for each in gc.get_objects())


def test_neither_descriptors_nor_tasks_nor_memory_are_left_of_a_connection_however_it_ends(tmp_path):
    async def every_kind(running: Running) -> None:
        assert (await running.send(GET)).startswith(b"HTTP/1.1 200 ")
        await running.send(GET, reset=True)
        await running.send(GET[:30], answer=False)
        await running.send(GET, answer=False)
        assert (await running.send(b"\x00\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        await running.send(GET[:-2] + b"Content-Length: 9\r\n\r\n")
        with suppress(ConnectionError):
            await running.send(GET, tls=False)
        await running.send(b"", tls=False, answer=False)

    async def scenario(running: Running) -> None:
        await every_kind(running)
        await asyncio.sleep(0)
        await until(lambda: not running.server.uvicorn.server_state.connections)
        files, tasks = open_files(), len(asyncio.all_tasks())
        for _ in range(60):
            await every_kind(running)
        await until(lambda: open_files() <= files and len(asyncio.all_tasks()) <= tasks)
        assert not running.server.uvicorn.server_state.connections
        await until(lambda: protocols() <= 1)

    live(tmp_path, scenario)


@pytest.mark.parametrize("sent", [[b""], [GET[:30]], [GET, GET[:30]]])
def test_whoever_does_not_finish_a_request_is_cut_off(tmp_path, monkeypatch, sent):
    monkeypatch.setattr(protocol, "HEAD_S", 0.1)

    async def scenario(running: Running) -> None:
        reader, writer = await running.connect()
        for whole in sent[:-1]:
            writer.write(whole)
            assert (await reader.readuntil(b"]}")).startswith(b"HTTP/1.1 200 ")
        writer.write(sent[-1])
        async with asyncio.timeout(PATIENCE_S):
            with suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()

    live(tmp_path, scenario)


def test_an_idle_connection_is_not_hurried(tmp_path, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_S", 0.1)

    async def scenario(running: Running) -> None:
        reader, writer = await running.connect()
        for _ in range(3):
            writer.write(GET)
            assert (await reader.readuntil(b"]}")).startswith(b"HTTP/1.1 200 ")
            await asyncio.sleep(0.3)
        writer.close()

    live(tmp_path, scenario)


def test_whoever_does_not_finish_a_handshake_is_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(listener, "HEAD_S", 0.1)

    async def scenario(running: Running) -> None:
        for sent in (b"", CLIENT_HELLO):
            reader, writer = await running.connect(tls=False)
            writer.write(sent)
            async with asyncio.timeout(PATIENCE_S):
                with suppress(ConnectionError):
                    assert await reader.read() == b""
            writer.close()

    live(tmp_path, scenario)


def test_the_oldest_handshake_makes_way_for_a_client_and_a_served_one_for_nobody(tmp_path):
    async def scenario(running: Running) -> None:
        kept_reader, kept = await running.connect()
        kept.write(GET)
        assert (await kept_reader.readuntil(b"]}")).startswith(b"HTTP/1.1 200 ")
        silent = [await running.connect(tls=False) for _ in range(9)]
        assert (await running.send(GET)).startswith(b"HTTP/1.1 200 ")
        for reader, _ in silent[:7]:
            assert await reader.read() == b""
        kept.write(GET)
        assert (await kept_reader.readuntil(b"]}")).startswith(b"HTTP/1.1 200 ")
        others = [await running.connect() for _ in range(2)]
        for reader, _ in silent[7:]:
            assert await reader.read() == b""
        with pytest.raises(ConnectionError):
            await running.connect()
        for _, writer in [(kept_reader, kept), *others, *silent]:
            writer.close()

    live(tmp_path, scenario, connections=3)


def test_a_server_without_its_listener_ends(tmp_path, monkeypatch):
    async def broken(_: listener.Listener) -> None:
        raise ArithmeticError("of the test")

    async def scenario(running: Running) -> None:
        await until(lambda: running.server.uvicorn.should_exit)

    monkeypatch.setattr(listener.Listener, "run", broken)
    with pytest.raises(ArithmeticError, match="of the test"):
        live(tmp_path, scenario)
