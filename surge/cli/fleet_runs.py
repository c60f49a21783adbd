"""One engine operation on many stacks at once: bounded, each on its own, all interrupted together."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Literal

from surge.cli.console import Refusal
from surge.cli.display import Display
from surge.cli.interrupts import Interrupts
from surge.cli.operation import INTERRUPTED

__all__ = ["Run", "run_all", "turn"]

State = Literal["current", "waiting", "running", "done", "failed", "interrupted"]
LOOK_S = 0.25


@dataclass
class Run:
    """One stack's turn. filters: how many it holds. display: of its steps; quiet, where many run at once.

    said: why it failed, one line each. seconds: of the turn, None before it ended.
    """

    stack: str
    filters: int
    display: Display
    state: State = "waiting"
    said: Sequence[str] = ()
    seconds: float | None = None

    @property
    def changes(self) -> Mapping[str, int]:
        """Resources by operation: create, update, delete, replace, same."""
        return self.display.steps.changes

    @property
    def finished(self) -> int:
        return self.display.steps.finished

    @property
    def elapsed_s(self) -> float | None:
        return self.display.elapsed_s if self.state == "running" else self.seconds

    def as_json(self) -> dict[str, Any]:
        return {
            "stack": self.stack,
            "filters": self.filters,
            "result": self.state,
            "changes": dict(self.changes),
            "seconds": None if self.seconds is None else round(self.seconds, 1),
            "problems": list(self.said),
        }


def run_all(
    runs: Sequence[Run],
    work: Callable[[Run], object],
    *,
    parallel: int,
    interrupts: Interrupts,
    tell: Callable[[], object],
) -> None:
    """Do `work` on every run that waits, `parallel` at a time. One that fails stops no other.

    After an interrupt nothing new begins. tell: called a few times a second, in the caller's thread.
    """
    waiting = [run for run in runs if run.state == "waiting"]
    with ThreadPoolExecutor(max_workers=max(1, parallel)) as pool:
        left = {pool.submit(turn, run, work, interrupts) for run in waiting}
        while left:
            tell()
            ended, left = wait(left, timeout=LOOK_S, return_when=FIRST_COMPLETED)
            for each in ended:
                each.result()
    tell()


def turn(run: Run, work: Callable[[Run], object], interrupts: Interrupts) -> None:
    """Do `work` on a run, whose state tells how it ended. Nothing begins after an interrupt."""
    if interrupts.count:
        return
    began = time.monotonic()
    run.state = "running"
    try:
        with run.display:
            work(run)
        run.state = "done"
    except Refusal as refusal:
        run.state = "interrupted" if refusal.code == INTERRUPTED else "failed"
        run.said = [*run.display.steps.problems, *refusal.lines[:1]]
    finally:
        run.seconds = time.monotonic() - began
