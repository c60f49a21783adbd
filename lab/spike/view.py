"""The spike live: a table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from surge.cli.state import FilterState

__all__ = ["View"]

PLAIN_EVERY_S = 5.0
COLUMNS = ("filter", "signal", "arrivals/s", "waiting", "busy", "ratio", "desired", "Ready")


class View:
    def __init__(self, length_s: float) -> None:
        self._console = Console()
        self._length_s = length_s
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._said_at = 0.0
        self._before: tuple[float, Mapping[str, int]] = (0.0, {})

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(
        self, at_s: float, phase: str, states: Sequence[FilterState], published: Mapping[str, int]
    ) -> None:
        """at_s: model seconds since the start. published: messages so far, by filter.

        Arrivals are per model second, over the time since the last show on screen.
        """
        title = f"{at_s / 60:.1f} of {self._length_s / 60:.0f} min (model): {phase}"
        if self._live is not None:
            self._live.update(_table(title, states, self._rates(at_s, published)), refresh=True)
        elif time.monotonic() - self._said_at >= PLAIN_EVERY_S:
            self._said_at = time.monotonic()
            rates = self._rates(at_s, published)
            parts = [
                f"{item.name}: {_tenths(rates.get(item.name))}/s, {_whole(item.backlog)} wait, "
                f"ratio {_ratio(item.ratio)}, {_whole(item.ready)} of {_whole(item.desired)} Ready"
                for item in states
            ]
            self._console.print(f"{title} | {' | '.join(parts)}", soft_wrap=True, markup=False)

    def _rates(self, at_s: float, published: Mapping[str, int]) -> dict[str, float]:
        (before_s, before), self._before = self._before, (at_s, dict(published))
        if at_s <= before_s:
            return {}
        return {name: (count - before.get(name, 0)) / (at_s - before_s) for name, count in published.items()}


def _table(title: str, states: Sequence[FilterState], rates: Mapping[str, float]) -> Table:
    table = Table(*COLUMNS, title=title, title_justify="left")
    for item in states:
        table.add_row(
            item.name,
            item.signal,
            _tenths(rates.get(item.name)),
            _whole(item.backlog),
            _whole(item.busy),
            _ratio(item.ratio),
            _whole(item.desired),
            _whole(item.ready),
        )
    return table


def _whole(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f}"


def _tenths(value: float | None) -> str:
    return "?" if value is None else f"{value:.1f}"


def _ratio(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"
