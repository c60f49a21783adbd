"""The API server of a cluster, without blocking the event loop."""

import asyncio
import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
import structlog

__all__ = ["ApiError", "ApiServer", "Document", "ExpiredError", "follow"]

WATCH_S = 240
CALL_S = 10
LARGEST_EVENT = 8 * 1024 * 1024
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 3.0

Document = Mapping[str, Any]


class ApiError(Exception):
    """The API server is away, or refused. status: HTTP's, 0 without an answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text}" if status else text)
        self.status = status


class ExpiredError(Exception):
    """The watch cannot go on from where it was: list again."""


class ApiServer:
    """As the user of `kubeconfig`, JSON with everything inline. Calls raise ApiError.

    Paths begin with the API's, such as /api/v1/pods, and may have a query.
    """

    def __init__(self, kubeconfig: Path) -> None:
        document = json.loads(kubeconfig.read_text())
        server = document["clusters"][0]["cluster"]
        self._server = server["server"]
        self._tls = _context(server["certificate-authority-data"], document["users"][0]["user"])
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=64)
        self._session = aiohttp.ClientSession(connector=connector, read_bufsize=LARGEST_EVENT)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def list(self, path: str) -> tuple[list[Document], str]:
        """Everything at `path`, and the version from which to watch."""
        listed = await self.call("GET", path)
        return listed["items"], listed["metadata"]["resourceVersion"]

    async def watch(self, path: str, version: str) -> AsyncIterator[tuple[str, Document]]:
        """(type, object) of every change after `version`. Raises ExpiredError when that is too long ago."""
        joint = "&" if "?" in path else "?"
        query = f"{joint}watch=1&resourceVersion={version}&timeoutSeconds={WATCH_S}"
        timeout = aiohttp.ClientTimeout(total=WATCH_S + 60, sock_connect=CALL_S)
        try:
            async with self._open().get(self._server + path + query, timeout=timeout) as answer:
                await _refuse_errors(answer)
                async for line in answer.content:
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise ExpiredError(event["object"].get("message", ""))
                    yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, f"{type(error).__name__}: {error}") from error

    async def call(self, method: str, path: str, body: Document | None = None, kind: str = "json") -> Any:
        """kind: of the body, application/<kind>."""
        headers = {} if body is None else {"Content-Type": f"application/{kind}"}
        data, timeout = None if body is None else orjson.dumps(body), aiohttp.ClientTimeout(total=CALL_S)
        try:
            async with self._open().request(
                method, self._server + path, data=data, headers=headers, timeout=timeout
            ) as answer:
                await _refuse_errors(answer)
                return orjson.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, f"{type(error).__name__}: {error}") from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError(f"use `async with {type(self).__name__}(...)`")
        return self._session


async def follow(
    api: ApiServer,
    path: str,
    replace: Callable[[Iterable[Document]], None],
    see: Callable[[str, Document], None],
) -> None:
    """Tell what is at `path`, as a whole and then change by change, until cancelled; survives outages."""
    log, wait_s = structlog.get_logger("surge.lab"), FIRST_WAIT_S
    while True:
        try:
            items, version = await api.list(path)
            replace(items)
            wait_s = FIRST_WAIT_S
            async for kind, item in api.watch(path, version):
                see(kind, item)
        except ExpiredError:
            continue
        except ApiError as error:
            log.warning("API server lost", error=str(error), again_in_s=wait_s)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)


async def _refuse_errors(answer: aiohttp.ClientResponse) -> None:
    if answer.status == 410:
        raise ExpiredError(await answer.text())
    if answer.status >= 400:
        raise ApiError(answer.status, (await answer.text())[:300])


def _context(authority: str, user: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=base64.b64decode(authority).decode())
    # The ssl module reads a client's certificate and key from a file alone.
    with tempfile.NamedTemporaryFile("wb", suffix=".pem") as pair:
        pair.write(base64.b64decode(user["client-certificate-data"]))
        pair.write(base64.b64decode(user["client-key-data"]))
        pair.flush()
        context.load_cert_chain(pair.name)
    return context
