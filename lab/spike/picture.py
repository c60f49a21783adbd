"""The picture of a spike: what Prometheus stored, filters side by side, in model minutes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

from lab.publisher import Published
from lab.spike.prometheus import PrometheusError, Series, query_range
from lab.spike.shape import Shape

mpl.use("Agg")

from matplotlib import pyplot

__all__ = ["Canvas", "draw", "read_series"]

QUERIES = {
    "backlog": 'surge_saturation_ready{{filter=~"{names}"}}',
    "ratio": 'surge_saturation_active_ratio{{filter=~"{names}"}}',
    "wanted": 'surge_saturation_desired_workers{{filter=~"{names}"}}',
    "ready": 'sum by (filter) (surge_lab_workers{{filter=~"{names}",state="ready"}})',
    "alive": 'sum by (filter) (surge_lab_workers{{filter=~"{names}"}})',
}
BIN_S = 15.0
BLUE, ORANGE, GREEN, GREY, RED = "#1f6fb4", "#d9730d", "#2e8b57", "#777777", "#b3261e"


@dataclass(frozen=True)
class Canvas:
    """growth, start, end: unix seconds. report: as written."""

    shape: Shape
    report: Mapping[str, Any]
    published: Sequence[Published]
    start: float
    growth: float
    end: float

    @property
    def time_factor(self) -> float:
        return self.report["time_factor"]

    def minutes(self, at: float) -> float:
        """Model minutes after the growth began."""
        return (at - self.growth) * self.time_factor / 60


def read_series(url: str, names: Sequence[str], start: float, end: float) -> dict[str, dict[str, Series]]:
    """Return what is drawn, by kind, then by filter. Raises PrometheusError, also when there is nothing."""
    step_s = max(1.0, (end - start) / 2000)
    series = {
        kind: query_range(url, query.format(names="|".join(names)), start, end, step_s)
        for kind, query in QUERIES.items()
    }
    if empty := [kind for kind, of in series.items() if not of]:
        raise PrometheusError(
            f"Prometheus at {url} stored nothing of {', '.join(empty)} in this run; its targets: {url}/targets"
        )
    return series


def draw(path: Path, canvas: Canvas, series: Mapping[str, Mapping[str, Series]]) -> None:
    names = list(canvas.shape.compare)
    figure, axes = pyplot.subplots(
        3, len(names), figsize=(1.5 + 5.5 * len(names), 9), sharex=True, sharey="row", squeeze=False
    )
    for column, name in enumerate(names):
        own = {kind: of.get(name, ()) for kind, of in series.items()}
        _requests(axes[0][column], canvas, name, own["backlog"])
        _workers(axes[1][column], canvas, own)
        _ratio(axes[2][column], canvas, own["ratio"])
        axes[0][column].set_title(_caption(name, canvas.report["filters"][name]), fontsize=10)
        axes[2][column].set_xlabel("model minutes since the growth began")
        for row in axes:
            _phases(row[column], canvas)
    for row, label in zip(axes, ("requests", "workers", "active ratio"), strict=True):
        row[0].set_ylabel(label)
        row[0].legend(loc="upper left", fontsize=8, framealpha=0.9)
    head = f"{canvas.shape.curve.title}: {canvas.shape.curve.factor:g} times the base load"
    figure.suptitle(f"{head} (time factor {canvas.time_factor:g}, seed {canvas.report['seed']})")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _requests(axes: Any, canvas: Canvas, name: str, backlog: Series) -> None:
    middles, counts = _arrivals(canvas, name)
    axes.step(middles, counts, where="mid", color=GREY, label=f"arrivals in {BIN_S:g} s")
    axes.fill_between(*_xy(canvas, backlog), color=RED, alpha=0.35, label="backlog")


def _workers(axes: Any, canvas: Canvas, own: Mapping[str, Series]) -> None:
    axes.plot(*_xy(canvas, own["wanted"]), color=GREY, lw=1, ls="--", label="desired by the demand signal")
    axes.plot(*_xy(canvas, own["alive"]), color=ORANGE, label="asked for (with warming, draining)")
    axes.plot(*_xy(canvas, own["ready"]), color=GREEN, lw=2, label="Ready")


def _ratio(axes: Any, canvas: Canvas, ratio: Series) -> None:
    axes.plot(*_xy(canvas, ratio), color=BLUE, label="active ratio")
    axes.axhline(0.7, color=GREY, lw=1, ls=":", label="0.7")
    axes.set_ylim(0, 1.05)


def _phases(axes: Any, canvas: Canvas) -> None:
    curve = canvas.shape.curve
    top, bottom = curve.growth_s / 60, (curve.growth_s + curve.plateau_s) / 60
    axes.axvspan(0, top, color=ORANGE, alpha=0.10, lw=0)
    axes.axvspan(top, bottom, color=ORANGE, alpha=0.18, lw=0)
    axes.axvspan(bottom, canvas.shape.length_s / 60, color=ORANGE, alpha=0.07, lw=0)
    axes.grid(alpha=0.25)
    axes.set_xlim(canvas.minutes(canvas.start), canvas.minutes(canvas.end))
    axes.set_ylim(bottom=0)


def _caption(name: str, figures: Mapping[str, Any]) -> str:
    reached, wait = figures["time_to_capacity_s"], figures["wait_p99_s"]
    return (
        f"{name}, signal {figures['signal']}\n"
        f"late {100 * figures['late_share']:.2f} %, p99 of the wait {'-' if wait is None else f'{wait:.0f} s'}, "
        f"capacity {'never' if reached is None else f'after {reached:.0f} s'}, "
        f"{figures['worker_seconds'] / 3600:.1f} GPU-hours"
    )


def _arrivals(canvas: Canvas, name: str) -> tuple[list[float], list[int]]:
    """Middles of the bins in model minutes, and how many requests came in each."""
    width = BIN_S / canvas.time_factor
    counts = [0] * (int((canvas.end - canvas.start) / width) + 1)
    for message in canvas.published:
        if message.filter == name and canvas.start <= message.at <= canvas.end:
            counts[int((message.at - canvas.start) / width)] += 1
    return [canvas.minutes(canvas.start + (number + 0.5) * width) for number in range(len(counts))], counts


def _xy(canvas: Canvas, series: Series) -> tuple[list[float], list[float]]:
    return [canvas.minutes(at) for at, _ in series], [value for _, value in series]
