"""What every source hands over: the counts of queues, or why there are none."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import aiohttp

__all__ = ["Counts", "ReadError", "Source"]


class Counts(NamedTuple):
    """Ready, unacked and consumers of one queue, from one answer of one source.

    beat: a number that grows while the queue process lives, where the source has one.
    """

    ready: float
    unacked: float
    consumers: float
    beat: float = 0.0


class ReadError(Exception):
    """A source gave no usable answer. `reason`: one word for logs and metrics."""

    def __init__(self, reason: str, text: str) -> None:
        self.reason = reason
        super().__init__(text)


class Source(Protocol):
    """One address of the broker that tells the counts of queues. `name`: which kind of source.

    A row of counts is served as it was read. Rows of two sources are never put together: consumers
    of now beside unacked messages of 5 s ago halve the ratio for a while when ten workers join.
    """

    name: str

    @property
    def url(self) -> str:
        """The address that is read now."""
        ...

    async def read(self, session: aiohttp.ClientSession, timeout_s: float) -> Mapping[bytes, Counts]:
        """Return the counts of the vhost's queues by name; what is unknown is left out. Raises ReadError."""
        ...

    async def acknowledged(
        self, session: aiohttp.ClientSession, timeout_s: float
    ) -> Mapping[bytes, Mapping[bytes, float]] | None:
        """Return the messages acknowledged on each queue, as `sources.acknowledgements` has them.

        None where the source does not count them. Raises ReadError.
        """
        ...
