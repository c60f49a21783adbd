"""How many jobs each worker has in hand, by the broker's word: unacknowledged messages per connection."""

import ssl
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

__all__ = ["Broker", "BrokerError"]

CALL_S = 10
CHANNELS = "/api/channels?columns=vhost,connection_details.name,consumer_count,messages_unacknowledged"
CONNECTIONS = "/api/connections?columns=name,user_provided_name"


class BrokerError(Exception):
    """The management API is away, or refused."""


class Broker:
    """A worker's connection bears its pod's name, by the worker contract. Calls raise BrokerError."""

    def __init__(self, urls: Sequence[str], vhost: str, credentials: Path, ca: Path | None) -> None:
        self._urls, self._turn = urls, 0
        self._vhost, self._credentials = vhost, credentials
        self._tls = ssl.create_default_context(cafile=ca)
        self._names: dict[str, str] = {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls), timeout=aiohttp.ClientTimeout(total=CALL_S)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def jobs(self) -> dict[str, int]:
        """Jobs in hand of every worker that consumes, by its pod's name."""
        in_hand: Counter[str] = Counter()
        for channel in await self._get(CHANNELS):
            # A channel that has only just opened has told nothing of itself yet.
            if channel.get("vhost") == self._vhost and channel.get("consumer_count"):
                in_hand[channel["connection_details"]["name"]] += channel.get("messages_unacknowledged", 0)
        if not in_hand.keys() <= self._names.keys():
            # Names never change while a connection lives, so they are asked for when there is a new one.
            self._names = {
                item["name"]: item.get("user_provided_name", "")
                for item in await self._get(CONNECTIONS)
                if "name" in item
            }
        found: Counter[str] = Counter()
        for connection, count in in_hand.items():
            if pod := self._names.get(connection):
                found[pod] += count
        return dict(found)

    async def _get(self, path: str) -> list[dict[str, Any]]:
        if self._session is None:
            raise RuntimeError("use `async with Broker(...)`")
        url = self._urls[self._turn % len(self._urls)]
        try:
            auth = aiohttp.encode_basic_auth(*self._login(), encoding="utf-8")
            async with self._session.get(url + path, headers={"authorization": auth}) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._turn += 1
            raise BrokerError(f"{url}: {type(error).__name__}: {error}") from error
        if answer.status != 200:
            self._turn += 1
            raise BrokerError(f"{url}: HTTP {answer.status}: {content[:200].decode(errors='replace')}")
        return orjson.loads(content)

    def _login(self) -> tuple[str, str]:
        user, _, password = self._credentials.read_text().strip("\r\n").partition(":")
        return user, password
