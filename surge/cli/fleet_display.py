"""Shards while they run, and the one summary when they have: a live table, or a line per event elsewhere."""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from surge.cli.fleet_runs import Run
from surge.cli.live import LiveTable
from surge.cli.progress import totals

__all__ = ["RUN_COLUMNS", "Board", "run_rows"]

RUN_COLUMNS = ("stack", "filters", "+", "~", "-", "seconds", "result")
HEARTBEAT_S = 15.0


class Board(LiveTable):
    """Context manager around `run_all`; `tell` shows what has changed since it was last called."""

    def __init__(self, console: Console, title: str, runs: Sequence[Run], *, quiet: bool = False) -> None:
        super().__init__(console, quiet=quiet)
        self._title, self._runs = title, runs
        self._spoke = time.monotonic()
        self._seen = {run.stack: run.state for run in runs}

    def tell(self) -> None:
        for run in self._runs:
            if run.state != self._seen[run.stack]:
                self._seen[run.stack] = run.state
                self._say(_event(run), "red" if run.state == "failed" else None)
        if self._live is None and time.monotonic() - self._spoke > HEARTBEAT_S:
            self._say(self._pulse(), "dim")

    def _say(self, text: str, style: str | None) -> None:
        self._spoke = time.monotonic()
        if not self._quiet:
            self._console.print(f"{self.elapsed_s:6.1f} s  {escape(text)}", style=style)

    def _pulse(self) -> str:
        running = [f"{run.stack} ({run.finished} steps)" for run in self._runs if run.state == "running"]
        over = sum(run.state not in {"waiting", "running"} for run in self._runs)
        return f"{over} of {len(self._runs)} stacks done; at work: {', '.join(running) or 'none'}"

    def _drawn(self) -> Table:
        drawn = Table.grid(padding=(0, 2))
        drawn.add_row(f"{self.elapsed_s:6.1f} s", f"[bold]{escape(self._title)}[/bold]")
        for run in self._runs:
            if run.state == "running":
                drawn.add_row(
                    f"{run.elapsed_s or 0:6.1f} s", f"{escape(run.stack)}: {run.finished} steps done"
                )
        waiting = sum(run.state == "waiting" for run in self._runs)
        drawn.add_row("", f"{waiting} wait" if waiting else "")
        return drawn


def run_rows(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """The summary's rows: resources created, updated (or replaced), deleted; seconds; result."""
    return [
        (
            run.stack,
            str(run.filters),
            *(_count(run, *operations) for operations in (("create",), ("update", "replace"), ("delete",))),
            "-" if run.seconds is None else f"{run.seconds:.1f}",
            _result(run),
        )
        for run in runs
    ]


def _count(run: Run, *operations: str) -> str:
    return str(sum(run.changes.get(operation, 0) for operation in operations) or "-")


def _result(run: Run) -> str:
    return "not begun" if run.state == "waiting" else run.state


def _event(run: Run) -> str:
    if run.state == "running":
        return f"{run.stack}: {run.filters} filters"
    if run.state == "done":
        return f"{run.stack}: {totals(run.changes, run.seconds or 0)}"
    return f"{run.stack}: {run.state} after {run.seconds or 0:.0f} s"
