"""Model seconds and wall seconds: one factor compresses every time constant of settings and catalogue alike.

These hold model seconds. Processes (metric server, fleet, broker, HPA) only
ever see wall seconds; the components convert, here and nowhere else.
"""

from dataclasses import dataclass
from math import isfinite

__all__ = ["TimeScale"]


@dataclass(frozen=True)
class TimeScale:
    """`factor` model seconds pass in one wall second; 1 means real time.

    Raises ValueError when the factor is not a finite number of at least 1.
    """

    factor: float = 1.0

    def __post_init__(self) -> None:
        if not (isfinite(self.factor) and self.factor >= 1):
            raise ValueError(f"time factor {self.factor}: want a finite number, at least 1")

    def wall(self, model_s: float) -> float:
        """Return the wall seconds in which `model_s` model seconds pass."""
        return model_s / self.factor

    def whole(self, model_s: float) -> int:
        """Return `wall(model_s)` as whole seconds, at least 1: for flags that take no fraction."""
        return max(1, round(model_s / self.factor))

    def model(self, wall_s: float) -> float:
        """Return the model seconds that pass in `wall_s` wall seconds."""
        return wall_s * self.factor
