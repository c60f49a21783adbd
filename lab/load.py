"""Steady load on a running stack, and an account of every message: for faults and short checks."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import orjson
import pika
from pika.exceptions import AMQPError

__all__ = ["Account", "Load", "events"]

AGAIN_S = 0.5


@dataclass(frozen=True)
class Account:
    """Message ids. lost: published and confirmed, but finished by nobody."""

    published: set[str]
    finished: Counter[str] = field(default_factory=Counter)
    scale_in_victims: set[str] = field(default_factory=set)

    @property
    def lost(self) -> set[str]:
        return self.published - set(self.finished)

    @classmethod
    def of(cls, published: set[str], seen: Iterable[Mapping[str, Any]]) -> Self:
        account = cls(published)
        for event in seen:
            identifier = event.get("message_id")
            if identifier not in published:
                continue
            if event["event"] == "finished":
                account.finished[identifier] += 1
            if event["event"] == "abandoned" and event["reason"] == "scale_in":
                account.scale_in_victims.add(identifier)
        return account


def events(directory: Path) -> list[dict[str, Any]]:
    """The fleet's journal so far; a last line that is being written is left out."""
    text = (directory / "fleet" / "events.ndjson").read_bytes()
    return [orjson.loads(line) for line in text.splitlines(keepends=True) if line.endswith(b"\n")]


class Load:
    """Publishes to one filter at a steady rate (messages per wall second) while the block runs.

    A message whose confirm was lost with the connection is published again under the same id.
    """

    def __init__(self, url: str, of_filter: str, rate: float) -> None:
        self._url = url
        self._filter = of_filter
        self._rate = rate
        self._stop = Event()
        self._thread = Thread(target=self._run, name=f"load-{of_filter}")
        self.published: set[str] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        channel = self._connect()
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            # After an outage the load goes on from now: a burst of what was missed is another test.
            due = max(due + 1 / self._rate, time.monotonic() - 1)
            identifier, at = str(uuid4()), time.time()
            while channel is not None and not self._publish(channel, identifier, at):
                channel = self._connect()
            if channel is None:
                return
            self.published.add(identifier)

    def _publish(self, channel: Any, identifier: str, at: float) -> bool:
        properties = pika.BasicProperties(
            message_id=identifier, delivery_mode=2, headers={"published-at-us": int(at * 1e6)}
        )
        try:
            channel.basic_publish("filters", self._filter, b"photo", properties, mandatory=True)
        except (AMQPError, OSError):
            return False
        return True

    def _connect(self) -> Any:
        """None when the load ends before the broker is back."""
        while not self._stop.is_set():
            try:
                channel = pika.BlockingConnection(pika.URLParameters(self._url)).channel()
                channel.confirm_delivery()
            except (AMQPError, OSError):
                self._stop.wait(AGAIN_S)
            else:
                return channel
        return None
