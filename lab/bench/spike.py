"""The demand signal beside the case study's ratio, on the same arrivals: a 7x step, three times."""

import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.bench import Row
from lab.checkout import scratch_checkout

__all__ = ["rows", "run"]

BASE_PORT = 25_100
SEEDS = (1, 2, 3)
OURS, PEER = "ghibli", "ghibli-ratio"
UNITS = {
    "late_share": "of the requests",
    "time_to_capacity_s": "model s",
    "worker_seconds": "model s",
    "peak_workers": "workers",
    "wait_p99_s": "model s",
}


def run() -> list[Row]:
    with (
        tempfile.TemporaryDirectory(prefix="surge-bench-") as folder,
        scratch_checkout(Path(folder), base_port=BASE_PORT) as checkout,
    ):
        checkout.surge("up", "local")
        reports: list[Mapping[str, Any]] = []
        for seed in SEEDS:
            checkout.module("lab.spike", "--shape", "lab/shapes/smoke.yaml", "--seed", str(seed))
            reports.append(json.loads((checkout.root / "build" / "spike" / "report.json").read_text()))
    return rows(reports)


def rows(reports: Sequence[Mapping[str, Any]]) -> list[Row]:
    """A row per figure, of medians; no number where a filter never got there."""
    return [
        Row(
            name=name,
            unit=unit,
            ours=_median(reports, OURS, name),
            peer=_median(reports, PEER, name),
            runs=[report["filters"][OURS][name] for report in reports],
        )
        for name, unit in UNITS.items()
    ]


def _median(reports: Sequence[Mapping[str, Any]], of_filter: str, name: str) -> float | None:
    values = [report["filters"][of_filter][name] for report in reports]
    return None if None in values else statistics.median(values)
