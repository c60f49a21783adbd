"""The spike live: a table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from surge.cli.state import FilterState

__all__ = ["View"]

PLAIN_EVERY_S = 5.0
COLUMNS = ("filter", "signal", "waiting", "busy", "ratio", "desired", "Ready")


class View:
    def __init__(self, length_s: float) -> None:
        self._console = Console()
        self._length_s = length_s
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._said_at = 0.0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, at_s: float, phase: str, states: Sequence[FilterState]) -> None:
        """at_s: model seconds since the start."""
        title = f"{at_s / 60:.1f} of {self._length_s / 60:.0f} min (model): {phase}"
        if self._live is not None:
            self._live.update(_table(title, states), refresh=True)
        elif time.monotonic() - self._said_at >= PLAIN_EVERY_S:
            self._said_at = time.monotonic()
            parts = [
                f"{item.name}: {_whole(item.ready)} of {_whole(item.desired)}, {_whole(item.backlog)} wait"
                for item in states
            ]
            self._console.print(f"{title} | {' | '.join(parts)}", soft_wrap=True)


def _table(title: str, states: Sequence[FilterState]) -> Table:
    table = Table(*COLUMNS, title=title, title_justify="left")
    for item in states:
        ratio = "?" if item.ratio is None else f"{item.ratio:.2f}"
        numbers = (_whole(item.backlog), _whole(item.busy), ratio, _whole(item.desired), _whole(item.ready))
        table.add_row(item.name, item.signal, *numbers)
    return table


def _whole(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f}"
