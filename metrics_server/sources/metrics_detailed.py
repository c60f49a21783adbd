"""One bulk read of a broker node's `/metrics/detailed`: the counts of every queue whose leader is there.

The three numbers of a queue come from one emission of the queue process, so they belong together.
"""

import asyncio
import re
from collections.abc import Mapping

import aiohttp

from metrics_server.sources.acknowledgements import BY_CHANNEL, BY_QUEUE, acknowledged, acknowledged_pattern
from metrics_server.sources.counts import Counts
from metrics_server.sources.http import get

__all__ = ["MetricsDetailed", "Parser", "newest"]

FAMILIES = [("family", "queue_coarse_metrics"), ("family", "queue_consumer_count")]
KINDS = (b"messages_ready", b"messages_unacked", b"consumers")
# Grows at every tick of a quorum queue's leader, idle or not: a row whose number stands still beside
# one whose number moves is of a node that the leader has left.
BEAT = b"process_reductions_total"


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

    async def read(self, session: aiohttp.ClientSession, timeout_s: float) -> dict[bytes, Counts]:
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
    """Reads the rows of one vhost out of an answer.

    3.10 writes label values as they are, so a queue may be called `a",x="b`: whatever has a quote
    or a backslash is not matched, which makes it unknown instead of somebody else's number.
    """

    def __init__(self, vhost: str, *, beats: bool = False) -> None:
        self._kinds = (*KINDS, BEAT)
        kinds, label = b"|".join(self._kinds if beats else KINDS), re.escape(vhost.encode())
        # The line break before a row, not `^`: a pattern that starts with letters is found twice as fast.
        # `++` and its like: what was taken once is not tried again shorter, a sixth of the time.
        self._row = re.compile(
            rb"\nrabbitmq_detailed_queue_(%b)" % kinds
            + rb'\{vhost="%b",queue="([^"\\\n]++)"\} ' % label
            + rb"(-?[0-9]{1,15}+(?:\.[0-9]{1,6})?+)(?=\n)"
        )

    def __call__(self, body: bytes) -> dict[bytes, Counts]:
        """Return the counts of every queue with all rows; a queue with contradicting rows is left out.

        Unknown lines, other vhosts and a last line without its newline (a truncated number) are skipped.
        """
        kinds: dict[bytes, dict[bytes, bytes]] = {kind: {} for kind in self._kinds}
        rows = self._row.findall(b"\n" + body)
        for kind, queue, text in rows:
            kinds[kind][queue] = text
        ready, unacked, consumers, beats = kinds.values()
        forged = _contradicting(rows) if len(rows) != sum(map(len, kinds.values())) else frozenset()
        return {
            queue: Counts(
                float(text), float(unacked[queue]), float(consumers[queue]), float(beats.get(queue, 0))
            )
            for queue, text in ready.items()
            if queue in unacked and queue in consumers and queue not in forged
        }


def _contradicting(rows: list[tuple[bytes, bytes, bytes]]) -> frozenset[bytes]:
    first: dict[tuple[bytes, bytes], bytes] = {}
    return frozenset(queue for kind, queue, value in rows if first.setdefault((kind, queue), value) != value)


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
