"""The few calls a kubelet makes, without blocking the event loop that all workers share."""

import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from lab.fleet.pod import FILTER_LABEL

__all__ = ["ApiError", "Cluster", "ExpiredError"]

WATCH_S = 240
CALL_S = 10
LARGEST_EVENT = 8 * 1024 * 1024


class ApiError(Exception):
    """The API server is away, or refused. status: HTTP's, 0 without an answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text}" if status else text)
        self.status = status


class ExpiredError(Exception):
    """The watch cannot go on from where it was: list again."""


class Cluster:
    """Calls raise ApiError."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        document = json.loads(kubeconfig.read_text())
        server = document["clusters"][0]["cluster"]
        self._base = f"{server['server']}/api/v1/namespaces/{namespace}"
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

    async def pods(self) -> tuple[list[dict[str, Any]], str]:
        """Every worker pod, and the version from which to watch."""
        listed = await self._call("GET", f"/pods?labelSelector={FILTER_LABEL}")
        return listed["items"], listed["metadata"]["resourceVersion"]

    async def watch(self, version: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """(type, pod) of every change after `version`. Raises ExpiredError when that is too long ago."""
        query = (
            f"/pods?labelSelector={FILTER_LABEL}&watch=1&resourceVersion={version}&timeoutSeconds={WATCH_S}"
        )
        timeout = aiohttp.ClientTimeout(total=WATCH_S + 60, sock_connect=CALL_S)
        try:
            async with self._open().get(self._base + query, timeout=timeout) as answer:
                await _refuse_errors(answer)
                async for line in answer.content:
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise ExpiredError(event["object"].get("message", ""))
                    yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, f"{type(error).__name__}: {error}") from error

    async def report(self, pod: str, patch: Mapping[str, Any]) -> None:
        kind = "application/strategic-merge-patch+json"
        await self._call("PATCH", f"/pods/{pod}/status", orjson.dumps(patch), kind)

    async def remove(self, pod: str, uid: str) -> None:
        """Say that the pod's containers are gone. A pod that is gone already is fine."""
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        try:
            await self._call("DELETE", f"/pods/{pod}", orjson.dumps(options), "application/json")
        except ApiError as error:
            if error.status not in {404, 409}:
                raise

    async def secret(self, name: str, key: str) -> str:
        data = (await self._call("GET", f"/secrets/{name}"))["data"]
        return base64.b64decode(data[key]).decode()

    async def _call(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> Any:
        headers = {"Content-Type": kind} if kind else {}
        timeout = aiohttp.ClientTimeout(total=CALL_S)
        try:
            async with self._open().request(
                method, self._base + path, data=body, headers=headers, timeout=timeout
            ) as answer:
                await _refuse_errors(answer)
                return orjson.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, f"{type(error).__name__}: {error}") from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use `async with Cluster(...)`")
        return self._session


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
