"""The shift of a worker that runs as a Job: it takes messages for a while, and ends."""

import asyncio
import time
from math import inf
from typing import Protocol

from worker.metrics import Tally

__all__ = ["IDLE_S", "Stoppable", "shift"]

# The queue is empty: nothing has come for so long. Wall seconds, whatever the time factor.
IDLE_S = 5.0
LOOK_S = 0.2


class Stoppable(Protocol):
    @property
    def tally(self) -> Tally: ...
    def stop(self) -> None: ...


async def shift(worker: Stoppable, seconds: float, *, idle_s: float = IDLE_S) -> None:
    """Stop `worker` when it has been Ready for `seconds`, or had nothing to do for `idle_s`.

    A stopped worker finishes what it has in hand. A broker that is away is no empty queue.
    """
    tally = worker.tally
    ends_at = idle_at = inf
    while (now := time.monotonic()) < min(ends_at, idle_at):
        if tally.ready and ends_at == inf:
            ends_at = now + seconds
        if tally.busy or not tally.ready:
            idle_at = inf
        elif idle_at == inf:
            idle_at = now + idle_s
        await asyncio.sleep(LOOK_S)
    worker.stop()
