"""A table that is drawn anew while something runs, on a terminal; elsewhere lines alone are printed."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live

__all__ = ["LiveTable"]


class LiveTable:
    """Context manager; what derives from it says in `_drawn` what to show. quiet: draw nothing."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console, self._quiet = console, quiet
        self._began = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        if self._console.is_terminal and not self._quiet:
            self._live = Live(
                console=self._console, get_renderable=self._drawn, transient=True, refresh_per_second=4
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

    def _drawn(self) -> RenderableType:
        raise NotImplementedError
