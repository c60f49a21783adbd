"""Ctrl-C while the engine works: it is told once, and finishes what it began."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Interrupts"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Counts interrupts of this process and passes each on to the engine, exactly once.

    The engine runs in a process group of its own, so that the terminal's Ctrl-C reaches only us:
    delivered to both, it would count as a second Ctrl-C, on which the engine drops everything.
    """

    def __init__(self, on_interrupt: Callable[[int], None] = lambda _: None) -> None:
        self.count = 0
        self._engine: int | None = None
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
        """Pass on to process `pid` while the block runs; what came just before it started as well."""
        self._engine = pid
        try:
            if self.count:
                self._pass_on()
            yield
        finally:
            self._engine = None

    def _took(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self._on_interrupt(self.count)
        self._pass_on()

    def _pass_on(self) -> None:
        if self._engine is not None:
            try:
                os.kill(self._engine, signal.SIGINT)
            except ProcessLookupError:
                return
