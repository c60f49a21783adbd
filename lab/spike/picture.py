"""The spike as a picture, drawn from what Prometheus stored."""

import json
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # before pyplot: there is no display

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

__all__ = ["draw"]

STEP_S = 1
SERIES = {
    "Ready workers": 'surge_lab_workers{{filter="{name}",state="ready"}}',
    "desired": 'surge_saturation_desired_workers{{filter="{name}"}}',
    "offered load": 'surge_saturation_offered_load{{filter="{name}"}}',
    "waiting": 'surge_saturation_ready{{filter="{name}"}}',
    "ratio": 'surge_saturation_active_ratio{{filter="{name}"}}',
}


def draw(path: Path, prometheus: str, report: Mapping[str, Any], names: Sequence[str]) -> None:
    """One column per filter: workers, messages that wait, busy ratio; minutes of the model."""
    start, end, factor = report["start"], report["end"], report["time_factor"]
    figure, grid = plt.subplots(
        3,
        len(names),
        sharex=True,
        sharey="row",
        squeeze=False,
        figsize=(6.2 * len(names), 8),
        height_ratios=[3, 2, 1.4],
    )
    for column, name in enumerate(names):
        of_filter = report["filters"][name]
        series = {
            label: _query(prometheus, query.format(name=name), start, end, factor)
            for label, query in SERIES.items()
        }
        workers, waiting, ratio = grid[0][column], grid[1][column], grid[2][column]
        _lines(workers, series, {"offered load": "#999999", "desired": "#e0a100", "Ready workers": "#1f6fb2"})
        _lines(waiting, series, {"waiting": "#b22222"})
        _lines(ratio, series, {"ratio": "#2e7d32"})
        late = 100 * of_filter["late_share"]
        workers.set_title(f"{name}: signal {of_filter['signal']}\nlate {late:.2f} %", fontsize=11)
        ratio.set_ylim(0, 1.05)
        ratio.set_xlabel("minutes (model)")
    for row, label in enumerate(("workers", "messages waiting", "active ratio")):
        grid[row][0].set_ylabel(label)
    grid[0][0].legend(frameon=False, fontsize=9)
    figure.suptitle(
        f"{report['shape']['name']}: {report['shape']['factor']:g}x, time factor {factor:g}", fontsize=12
    )
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _lines(
    axes: Axes, series: Mapping[str, tuple[list[float], list[float]]], colours: Mapping[str, str]
) -> None:
    for label, colour in colours.items():
        axes.plot(*series[label], label=label, color=colour, linewidth=1.6)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _query(
    prometheus: str, query: str, start: float, end: float, factor: float
) -> tuple[list[float], list[float]]:
    """(minutes of the model, values). Raises OSError when Prometheus is away."""
    asked = urllib.parse.urlencode({"query": query, "start": start, "end": end, "step": STEP_S})
    with urllib.request.urlopen(f"{prometheus}/api/v1/query_range?{asked}", timeout=20) as answer:  # noqa: S310 -- our own
        found = json.load(answer)["data"]["result"]
    points = found[0]["values"] if found else []
    return [(float(at) - start) * factor / 60 for at, _ in points], [float(value) for _, value in points]
