"""Shows an operation while it runs: a live table on a terminal, one line per step elsewhere."""

import threading
import time
from types import TracebackType
from typing import Self

from pulumi.automation.events import EngineEvent
from rich.console import Console, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from surge.cli.progress import Line, Steps

__all__ = ["Display"]

STYLES = {"failed": "red", "error": "bold red", "warning": "yellow", "plan": "cyan", "info": "dim"}
MOST_RUNNING = 12


class Display:
    """Context manager around one operation; `on_event` may be called from any thread.

    quiet: count, but print nothing (for --json).
    """

    def __init__(self, console: Console, title: str, *, quiet: bool = False) -> None:
        self.steps = Steps()
        self._console, self._title, self._quiet = console, title, quiet
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        if self._console.is_terminal and not self._quiet:
            self._live = Live(
                console=self._console, get_renderable=self._running, transient=True, refresh_per_second=4
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def on_event(self, event: EngineEvent) -> None:
        with self._lock:
            line = self.steps.take(event, self.elapsed_s)
        if line is not None:
            self.show(line)

    def say(self, text: str) -> None:
        self.show(Line("note", text))

    def show(self, line: Line) -> None:
        if self._quiet:
            return
        first, *rest = line.text.splitlines() or [""]
        prefix = f"{line.kind}: " if line.kind in {"error", "warning"} else ""
        style = STYLES.get(line.kind)
        self._console.print(f"{self.elapsed_s:6.1f} s  {escape(prefix + first)}", style=style)
        for text in rest:
            self._console.print(f"{'':10}{escape(text)}", style=style)

    def _running(self) -> RenderableType:
        with self._lock:
            running, finished = dict(self.steps.running), self.steps.finished
        now = self.elapsed_s
        drawn = Table.grid(padding=(0, 2))
        drawn.add_row(f"{now:6.1f} s", f"[bold]{escape(self._title)}[/bold]: {finished} done")
        for name, (doing, since) in list(running.items())[:MOST_RUNNING]:
            drawn.add_row(f"{now - since:6.1f} s", escape(f"{doing} {name}"))
        if len(running) > MOST_RUNNING:
            drawn.add_row("", f"and {len(running) - MOST_RUNNING} more")
        return drawn
