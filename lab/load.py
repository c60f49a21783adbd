"""Steady load on a running stack, and an account of every message: for faults and short checks."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

import orjson

from lab.publisher import Publisher

__all__ = ["Account", "Load", "events"]


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
    """Publishes to one filter at a steady rate (messages per wall second) while the block runs."""

    def __init__(self, url: str, of_filter: str, rate: float) -> None:
        self._filter = of_filter
        self._rate = rate
        self._stop = Event()
        self._publisher = Publisher(url, self._stop)
        self._thread = Thread(target=self._run, name=f"load-{of_filter}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def published(self) -> set[str]:
        return {identifier for _, identifier in list(self._publisher.published)}

    def _run(self) -> None:
        due = time.monotonic()
        while self._publisher.publish(self._filter):
            # After an outage the load goes on from now: a burst of what was missed is another test.
            due = max(due + 1 / self._rate, time.monotonic() - 1)
            if (wait := due - time.monotonic()) > 0:
                self._publisher.idle(wait)
        self._publisher.close()
