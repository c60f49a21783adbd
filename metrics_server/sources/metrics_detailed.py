"""One bulk read of a broker node's `/metrics/detailed`: the counts of every queue whose leader is there.

The three numbers of a queue come from one emission of the queue process, so they belong together.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping

import aiohttp

from metrics_server.sources.acknowledgements import BY_CHANNEL, BY_QUEUE, acknowledged, acknowledged_pattern
from metrics_server.sources.counts import Counts, Table
from metrics_server.sources.http import get

__all__ = ["MetricsDetailed", "Parser", "newest"]

FAMILIES = [("family", "queue_coarse_metrics"), ("family", "queue_consumer_count")]
KINDS = (b"messages_ready", b"messages_unacked", b"consumers")
# Grows at every tick of a quorum queue's leader, idle or not: a row whose number stands still beside
# one whose number moves is of a node that the leader has left.
BEAT = b"process_reductions_total"
# A float has no more of them.
DIGITS = frozenset(range(1, 16))


class MetricsDetailed:
    """The metrics listener of one node. beats: also read what tells the rows of two nodes apart.

    Answers are parsed in a thread: whoever asks for a filter meanwhile waits for a fraction of it.
    """

    name = "metrics-detailed"

    def __init__(self, url: str, vhost: str, *, beats: bool) -> None:
        self.url = url
        self._vhost = vhost
        self._parse = Parser(vhost, beats=beats)
        self._acknowledged = acknowledged_pattern(vhost)
        self._counted_by = [BY_CHANNEL, BY_QUEUE]

    async def read(self, session: aiohttp.ClientSession, timeout_s: float) -> Table:
        query = [*FAMILIES, ("vhost", self._vhost)]
        body = await get(session, f"{self.url}/metrics/detailed", query, timeout_s)
        return await asyncio.to_thread(self._parse, body)

    async def acknowledged(
        self, session: aiohttp.ClientSession, timeout_s: float
    ) -> dict[bytes, dict[bytes, float]]:
        query = [*[("family", each) for each in self._counted_by], ("vhost", self._vhost)]
        body = await get(session, f"{self.url}/metrics/detailed", query, timeout_s)
        seen = await asyncio.to_thread(acknowledged, body, self._acknowledged)
        if any(b"" in each for each in seen.values()):
            self._counted_by = [BY_QUEUE]
        return seen


class Parser:
    """Reads the rows of one vhost out of an answer. beats: also BEAT, which is 0 without.

    3.10 writes label values as they are, so a queue may be called `a",x="b`: whatever has a quote
    or a backslash is not matched, which makes it unknown instead of somebody else's number.
    """

    def __init__(self, vhost: str, *, beats: bool = False) -> None:
        kinds = (*KINDS, BEAT) if beats else KINDS
        self._families = [_Family(kind, vhost) for kind in kinds]
        self._last = Table()

    def __call__(self, body: bytes) -> Table:
        """Return the counts of every queue with all rows; a queue with contradicting rows is left out.

        Unknown lines, other vhosts and a last line without its newline (a truncated number) are skipped.
        """
        lines = b"\n" + body
        table = self._same_queues(lines) or self._any_queues(lines)
        self._last = table
        return table

    def _same_queues(self, lines: bytes) -> Table | None:
        """Read rows that are, but for their numbers, the last answer's: half of the time, and the rule."""
        columns = [same for family in self._families if (same := family.same(lines)) is not None]
        return self._last.with_numbers(*columns) if len(columns) == len(self._families) else None

    def _any_queues(self, lines: bytes) -> Table:
        families = [family.numbers(lines) for family in self._families]
        queues = [queue for queue in families[0] if all(queue in numbers for numbers in families)]
        for family in self._families:
            family.expect(queues)
        return Table(queues, *([*map(float, map(numbers.__getitem__, queues))] for numbers in families))


class _Family:
    """The rows of one kind. All of them stand together, so the rest of an answer is not looked at."""

    def __init__(self, kind: bytes, vhost: str) -> None:
        self._head = b'\nrabbitmq_detailed_queue_%b{vhost="%b",queue="' % (kind, vhost.encode())
        # `++` and its like: what was taken once is not tried again shorter, a sixth of the time.
        self._row = re.compile(
            re.escape(self._head) + rb'([^"\\\n]++)"\} (-?[0-9]{1,15}+(?:\.[0-9]{1,6})?+)(?=\n)'
        )
        self._expected: list[bytes] = []

    def expect(self, queues: Iterable[bytes]) -> None:
        """Set the queues of the rows that `same` reads, in their order."""
        self._expected = [b'%b%b"} ' % (self._head[1:], queue) for queue in queues]

    def same(self, lines: bytes) -> list[float] | None:
        """Return the numbers of the expected rows; None when there are others, or not whole numbers."""
        begin = lines.find(self._head) + 1
        *rows, rest = lines[begin:].split(b"\n", len(self._expected))
        texts = [*map(bytes.removeprefix, rows, self._expected)]
        if len(rows) < len(self._expected) or self._head[1:] in rest:
            return None
        # A row that is not the expected one has kept its head, and that is no digit.
        if not b"".join(texts).isdigit() or not DIGITS.issuperset(map(len, texts)):
            return None
        return [*map(float, texts)]

    def numbers(self, lines: bytes) -> dict[bytes, bytes]:
        """Return queue -> its number as it was written, of queues with one number only."""
        begin, last = lines.find(self._head), lines.rfind(self._head)
        if begin < 0:
            return {}
        end = lines.find(b"\n", last + 1) + 1 or len(lines)
        rows = self._row.findall(lines, begin, end)
        numbers = dict(rows)
        if len(numbers) < len(rows):
            for queue in _contradicting(rows):
                del numbers[queue]
        return numbers


def _contradicting(rows: list[tuple[bytes, bytes]]) -> set[bytes]:
    first: dict[bytes, bytes] = {}
    return {queue for queue, number in rows if first.setdefault(queue, number) != number}


def newest(candidates: Mapping[str, tuple[float, Counts]]) -> str | None:
    """Return the node whose row to believe: the one that changed last; None when that is undecided.

    candidates: node -> (when its row last changed, its counts). After a leader moved, the old
    node's row stays for up to two minutes, frozen.
    """
    if not candidates:
        return None
    last = max(changed for changed, _ in candidates.values())
    winners = [node for node, (changed, _) in candidates.items() if changed == last]
    if len({candidates[node][1][:3] for node in winners}) > 1:
        return None
    return winners[0]
