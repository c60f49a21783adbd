"""The management API's list of queues: for brokers whose metrics listener is off or out of reach.

Both numbers of the pair come out of the API's own tables in one answer, up to two intervals of 5 s
old. The list of totals (`disable_stats`) would have unacked messages of now for classic queues, but it
has no consumers: those would be of another time, so it is not used (docs/adr/0012).
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

from metrics_server.config import ConfigError
from metrics_server.credentials import Credentials
from metrics_server.sources.counts import Counts, ReadError, Table
from metrics_server.sources.http import get

__all__ = ["Management", "read_page"]

# A page costs the broker a quarter of the whole list with all its fields; 500 is the API's limit.
PAGE = {
    "columns": "name,vhost,messages_ready,messages_unacknowledged,consumers",
    "page_size": "500",
    "sort": "name",
}
MOST_PAGES = 200
MOST = 10**15


class Management:
    """The management listeners of one cluster: each knows all queues, the next is asked when one fails.

    Raises ConfigError at construction when the credentials cannot be used.
    """

    name = "management"

    def __init__(self, urls: Sequence[str], vhost: str, credentials_file: Path) -> None:
        self._urls = urls
        self._turn = 0
        self._vhost = vhost
        self._credentials = Credentials(credentials_file)

    @property
    def url(self) -> str:
        return self._urls[self._turn % len(self._urls)]

    async def acknowledged(self, session: aiohttp.ClientSession, timeout_s: float) -> None:
        """None: the rates that the API would make for it cost the broker ten times the metrics listener's."""

    async def read(self, session: aiohttp.ClientSession, timeout_s: float) -> Table:
        try:
            async with asyncio.timeout(timeout_s):
                return Table.of(await self._pages(session, timeout_s))
        except TimeoutError:
            self._turn += 1
            raise ReadError("timeout", f"no answer within {timeout_s:g} s") from None
        except ReadError:
            self._turn += 1
            raise

    async def _pages(self, session: aiohttp.ClientSession, timeout_s: float) -> dict[bytes, Counts]:
        headers = self._headers()
        address = f"{self.url}/api/queues/{quote(self._vhost, safe='')}"
        queues: dict[bytes, Counts] = {}
        page, pages = 1, 1
        while page <= pages:
            body = await get(session, address, {**PAGE, "page": str(page)}, timeout_s, headers)
            found, pages = read_page(body, self._vhost)
            queues |= found
            page += 1
        return queues

    def _headers(self) -> dict[str, str]:
        try:
            user, password = self._credentials.current()
        except ConfigError as error:
            raise ReadError("credentials", str(error)) from None
        return {"authorization": aiohttp.encode_basic_auth(user, password, encoding="utf-8")}


def read_page(body: bytes, vhost: str) -> tuple[dict[bytes, Counts], int]:
    """Return the counts of the queues of `vhost` on one page, and the number of pages.

    A queue without all three whole numbers (its node is down, its first statistics are to come) is
    left out. Raises ReadError when it is no page of queues.
    """
    try:
        answer = orjson.loads(body)
        items, pages = answer["items"], answer["page_count"]
        if not isinstance(items, list) or type(pages) is not int or not 0 <= pages <= MOST_PAGES:
            raise ReadError("format", f"no page of queues, or more than {MOST_PAGES} of them")
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise ReadError("format", "no page of queues") from None
    rows = [_row(item, vhost) for item in items]
    return dict(row for row in rows if row is not None), pages


def _row(item: Any, vhost: str) -> tuple[bytes, Counts] | None:
    if not isinstance(item, dict) or item.get("vhost") != vhost or not isinstance(item.get("name"), str):
        return None
    numbers = [item.get(key) for key in ("messages_ready", "messages_unacknowledged", "consumers")]
    whole = [float(number) for number in numbers if type(number) is int and 0 <= number < MOST]
    return (item["name"].encode(), Counts(*whole)) if len(whole) == len(numbers) else None
