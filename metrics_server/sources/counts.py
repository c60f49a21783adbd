"""What every source hands over: the counts of queues, or why there are none."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import count
from typing import NamedTuple, Protocol, Self

import aiohttp

__all__ = ["Counts", "ReadError", "Source", "Table"]


class Counts(NamedTuple):
    """Ready, unacked and consumers of one queue, from one answer of one source.

    beat: a number that grows while the queue process lives, where the source has one.
    """

    ready: float
    unacked: float
    consumers: float
    beat: float = 0.0


class Table(Mapping[bytes, Counts]):
    """The counts of many queues out of one answer: a column of each kind, a queue at each place.

    As a mapping it makes the counts of a queue when they are asked for.
    """

    def __init__(
        self,
        queues: Sequence[bytes] = (),
        ready: Sequence[float] = (),
        unacked: Sequence[float] = (),
        consumers: Sequence[float] = (),
        beats: Sequence[float] | None = None,
    ) -> None:
        self.queues = queues
        self.ready, self.unacked, self.consumers = ready, unacked, consumers
        self.beats = [0.0] * len(queues) if beats is None else beats

    @classmethod
    def of(cls, counts: Mapping[bytes, Counts]) -> Self:
        return cls([*counts], *([*column] for column in zip(*counts.values(), strict=True)))

    def with_numbers(self, *columns: Sequence[float]) -> Self:
        """Return other numbers of the same queues."""
        other = type(self)(self.queues, *columns)
        other.places = self.places
        return other

    @cached_property
    def places(self) -> dict[bytes, int]:
        return dict(zip(self.queues, count()))

    def rows(self) -> Iterator[tuple[float, float, float, float]]:
        return zip(self.ready, self.unacked, self.consumers, self.beats, strict=True)

    def at(self, place: int) -> Counts:
        return Counts(self.ready[place], self.unacked[place], self.consumers[place], self.beats[place])

    def __getitem__(self, queue: bytes) -> Counts:
        return self.at(self.places[queue])

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.queues)

    def __len__(self) -> int:
        return len(self.queues)


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

    async def read(self, session: aiohttp.ClientSession, timeout_s: float) -> Table:
        """Return the counts of the vhost's queues; what is unknown is left out. Raises ReadError."""
        ...

    async def acknowledged(
        self, session: aiohttp.ClientSession, timeout_s: float
    ) -> Mapping[bytes, Mapping[bytes, float]] | None:
        """Return the messages acknowledged on each queue, as `sources.acknowledgements` has them.

        None where the source does not count them. Raises ReadError.
        """
        ...
