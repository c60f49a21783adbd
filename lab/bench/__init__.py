"""Figures that anyone can print again: `python -m lab.bench [NAME...]`, or `make bench`.

Each bench writes build/bench/<name>.json, a list of rows. A row has our figure, the figure of what a
user would pick instead (measured in the same run, null where there is none), and their ratio.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

__all__ = ["Row", "rows_as_json"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """ours: of `runs`, their median; in `laws` their mean, in `age_*` the quantile that the name says.

    peer: the same of what a user would pick instead. ratio: ours / peer.
    """

    name: str
    unit: str
    ours: float | None
    peer: float | None = None
    runs: Sequence[float | None] = ()

    @property
    def ratio(self) -> float | None:
        if self.ours is None or not self.peer:
            return None
        return round(self.ours / self.peer, 4)


def rows_as_json(rows: list[Row]) -> list[dict[str, object]]:
    return [{**asdict(row), "ratio": row.ratio} for row in rows]
