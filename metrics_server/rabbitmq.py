"""One bulk read of a broker node's `/metrics/detailed`: ready, unacked and consumers of every queue.

The three numbers of a queue come from one emission of the queue process, so they belong together.
Never mix them with numbers of another source: ten workers that join would halve the ratio for a while.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import aiohttp

__all__ = ["FAMILIES", "SOURCE", "Counts", "ReadError", "newest", "parse", "read_node", "row_pattern"]

SOURCE = "metrics-detailed"
FAMILIES = "family=queue_coarse_metrics&family=queue_consumer_count"

# 3.10 with 20,000 queues answers 14 MB.
MOST_BYTES = 64 * 2**20


class Counts(NamedTuple):
    """Ready, unacked and consumers of one queue, from one emission."""

    ready: float
    unacked: float
    consumers: float


class ReadError(Exception):
    """A node gave no usable answer. `reason`: one word for logs and metrics."""

    def __init__(self, reason: str, text: str) -> None:
        self.reason = reason
        super().__init__(text)


async def read_node(session: aiohttp.ClientSession, url: str, vhost: str, timeout_s: float) -> bytes:
    """Return the answer of the node at `url`. Raises ReadError."""
    try:
        async with session.get(
            f"{url}/metrics/detailed?{FAMILIES}",
            params={"vhost": vhost},
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            allow_redirects=False,
        ) as answer:
            if answer.status != 200:
                raise ReadError("status", f"status {answer.status}")
            body = await answer.content.read(MOST_BYTES)
            while not answer.content.at_eof() and len(body) < MOST_BYTES:
                body += await answer.content.read(MOST_BYTES - len(body))
            if not answer.content.at_eof():
                raise ReadError("size", f"more than {MOST_BYTES // 2**20} MiB")
            return body
    except TimeoutError:
        raise ReadError("timeout", f"no answer within {timeout_s:g} s") from None
    except (aiohttp.ClientError, OSError) as error:
        raise ReadError("connection", f"{type(error).__name__}") from None


def row_pattern(vhost: str) -> re.Pattern[bytes]:
    """Return the pattern of a whole row of `vhost` that this module reads.

    3.10 writes label values as they are, so a queue may be called `a",x="b`: whatever has a quote
    or a backslash is not matched, which makes it unknown instead of somebody else's number.
    """
    label = re.escape(vhost.encode())
    return re.compile(
        rb"^rabbitmq_detailed_queue_(messages_ready|messages_unacked|consumers)"
        rb'\{vhost="' + label + rb'",queue="([^"\\\n]+)"\} (-?\d{1,15}(?:\.\d{1,6})?)\n',
        re.MULTILINE,
    )


def parse(body: bytes, pattern: re.Pattern[bytes]) -> dict[bytes, Counts]:
    """Return the counts of every queue with all three rows; a queue with contradicting rows is left out.

    Unknown lines, other vhosts and a last line without its newline (a truncated number) are skipped.
    """
    ready: dict[bytes, bytes] = {}
    unacked: dict[bytes, bytes] = {}
    consumers: dict[bytes, bytes] = {}
    kinds = {b"messages_ready": ready, b"messages_unacked": unacked, b"consumers": consumers}
    rows = pattern.findall(body)
    for kind, queue, value in rows:
        kinds[kind][queue] = value
    forged = _contradicting(rows) if len(rows) != len(ready) + len(unacked) + len(consumers) else frozenset()
    return {
        queue: Counts(float(waiting), float(unacked[queue]), float(consumers[queue]))
        for queue, waiting in ready.items()
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
    if len({candidates[node][1] for node in winners}) > 1:
        return None
    return winners[0]
