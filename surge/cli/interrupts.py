"""Ctrl-C while the engine works: it is told once, and finishes what it began."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

__all__ = ["Interrupts"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Counts interrupts of this process and passes each on to every engine that runs, exactly once.

    An engine runs in a process group of its own, so that the terminal's Ctrl-C reaches only us:
    delivered to both, it would count as a second Ctrl-C, on which the engine drops everything.
    """

    def __init__(self, on_interrupt: Callable[[int], None] = lambda _: None) -> None:
        self.count = 0
        self._engines: set[int] = set()
        self._lock = threading.RLock()  # a signal may come while this very thread has it
        self._on_interrupt = on_interrupt

    @contextmanager
    def taken(self) -> Iterator["Interrupts"]:
        """Take SIGINT, SIGTERM and SIGHUP while the block runs. Main thread only."""
        before: dict[int, Any] = {number: signal.signal(number, self._took) for number in SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def passed_to(self, pid: int) -> Iterator[None]:
        """Pass on to process `pid` while the block runs; what came just before it started as well.

        From any thread, for any number of processes at once.
        """
        with self._lock:
            late = self.count > 0
            self._engines.add(pid)
            if late:
                _interrupt(pid)
        try:
            yield
        finally:
            self._engines.discard(pid)

    def _took(self, number: int, frame: FrameType | None) -> None:
        with self._lock:
            self.count += 1
            self._on_interrupt(self.count)
            for pid in tuple(self._engines):
                _interrupt(pid)


def _interrupt(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)
