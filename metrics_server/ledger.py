"""Live consumers of each queue: as a passive declare counted them, moved on by the events since."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

__all__ = ["ConsumerLedger"]

# The second copy of a departure comes within milliseconds: after this it is not waited for.
KEEP_MS = 60_000

# Broker's milliseconds, and whether the consumer left: of two in one millisecond the arrival was first.
_Event = tuple[float, bool]


@dataclass
class _Book:
    """One queue. fates: the first and the last event of a consumer since the count, by channel and tag.

    A consumer that left first was in the count; one that came last is there now. So neither the order
    in which events come nor how often each comes changes the sum.

    begun: the queue began without consumers and was not counted since. Whoever leaves it without having
    come was a consumer of the queue of the same name before.
    """

    live: int | None = None
    moves: int = 0
    fates: dict[str, dict[str, tuple[_Event, _Event]]] = field(default_factory=dict)
    begun: bool = False

    def take(self, channel: str, tag: str, event: _Event) -> None:
        fates = self.fates.setdefault(channel, {})
        before = fates.get(tag)
        first = (-inf, False) if self.begun else event
        fates[tag] = after = (
            (first, event) if before is None else (min(before[0], event), max(before[1], event))
        )
        self.moves += 1
        if self.live is not None:
            self.live += _moved(after) - (0 if before is None else _moved(before))

    def count(self, count: int, forget_ms: float) -> None:
        here = sum(not last[1] for fates in self.fates.values() for _, last in fates.values())
        kept = {
            channel: {
                tag: ((-inf, not last[1]), last)
                for tag, (_, last) in fates.items()
                if (last[0] > forget_ms if last[1] else here <= count)
            }
            for channel, fates in self.fates.items()
        }
        self.fates = {channel: fates for channel, fates in kept.items() if fates}
        self.live = count
        self.begun = False


class ConsumerLedger:
    """Each followed queue is unknown until its first `resync`; events of other queues are ignored.

    drift: consumers by which the resyncs have corrected the events so far.
    """

    def __init__(self) -> None:
        self.drift = 0
        self._books: dict[str, _Book] = {}
        self._newest_ms = -inf

    def follow(self, queues: Iterable[str]) -> None:
        """Know these queues from now on; kept ones keep what is known."""
        self._books = {queue: self._books.get(queue) or _Book() for queue in queues}

    def forget(self, queue: str) -> None:
        """The queue is not there: unknown until its next resync."""
        if queue in self._books:
            self._books[queue] = _Book(moves=self.moves(queue) + 1)

    def forget_all(self) -> None:
        """Nobody listens: every queue is unknown until its next resync."""
        self._books = {queue: _Book() for queue in self._books}

    def created(self, queue: str, channel: str, tag: str, at_ms: float) -> None:
        self._take(queue, channel, tag, (at_ms, False))

    def deleted(self, queue: str, channel: str, tag: str, at_ms: float) -> None:
        self._take(queue, channel, tag, (at_ms, True))

    def channel_closed(self, channel: str, at_ms: float) -> None:
        """Its consumers are gone, as far as their arrivals were told."""
        for queue, book in self._books.items():
            for tag, (_, last) in list(book.fates.get(channel, {}).items()):
                if not last[1]:
                    self._take(queue, channel, tag, (max(at_ms, last[0]), True))

    def queue_deleted(self, queue: str) -> None:
        """It has no consumers, and one of the same name begins with none."""
        book = self._books.get(queue)
        if book is not None:
            self._books[queue] = _Book(None if book.live is None else 0, book.moves + 1, begun=True)

    def resync(self, queue: str, count: int) -> None:
        """Believe `count`, of a passive declare; what events had said otherwise is drift."""
        book = self._books.get(queue)
        if book is None:
            return
        if book.live is not None:
            self.drift += abs(count - max(0, book.live))
        book.count(count, self._newest_ms - KEEP_MS)

    def live(self, queue: str) -> int | None:
        """Return the consumers of this moment, None when unknown."""
        book = self._books.get(queue)
        return None if book is None or book.live is None else max(0, book.live)

    def moves(self, queue: str) -> int:
        """Return how many events of the queue were taken: the same number twice, no event between."""
        book = self._books.get(queue)
        return 0 if book is None else book.moves

    def _take(self, queue: str, channel: str, tag: str, event: _Event) -> None:
        book = self._books.get(queue)
        if book is not None:
            self._newest_ms = max(self._newest_ms, event[0])
            book.take(channel, tag, event)


def _moved(fate: tuple[_Event, _Event]) -> int:
    (_, left_first), (_, left_last) = fate
    return (not left_last) - left_first
