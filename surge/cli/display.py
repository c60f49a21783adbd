"""Shows an operation while it runs: a live table on a terminal, one line per step elsewhere."""

import threading

from pulumi.automation.events import EngineEvent
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from surge.cli.live import LiveTable
from surge.cli.progress import Line, Steps

__all__ = ["Display"]

STYLES = {"failed": "red", "error": "bold red", "warning": "yellow", "plan": "cyan", "info": "dim"}
MOST_RUNNING = 12


class Display(LiveTable):
    """Context manager around one operation; `on_event` may be called from any thread.

    quiet: count, but print nothing (for --json).
    """

    def __init__(self, console: Console, title: str, *, quiet: bool = False) -> None:
        super().__init__(console, quiet=quiet)
        self.steps = Steps()
        self._title = title
        self._lock = threading.Lock()

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

    def _drawn(self) -> RenderableType:
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
