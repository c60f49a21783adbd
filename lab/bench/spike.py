"""The demand signal beside the case study's ratio, on the same arrivals: from the spike that ran last.

It reads build/spike/report.json, so that the figures are those of the picture beside it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.bench import Row

__all__ = ["REPORT", "NoSpikeError", "rows", "run"]

REPORT = Path(__file__).resolve().parents[2] / "build" / "spike" / "report.json"
OURS, PEER = "ghibli", "ghibli-ratio"
UNITS = {
    "late_share": "of the requests",
    "time_to_capacity_s": "model s",
    "worker_seconds": "model s",
    "peak_workers": "workers",
    "wait_p99_s": "model s",
}


class NoSpikeError(Exception):
    """There is no report that compares the two signals."""


def run() -> list[Row]:
    """Raises NoSpikeError."""
    try:
        report = json.loads(REPORT.read_text())
    except FileNotFoundError as error:
        raise NoSpikeError(
            f"no {REPORT}: no spike ran here yet. Run one: make up, then make spike"
        ) from error
    except ValueError as error:
        raise NoSpikeError(f"{REPORT} is no JSON ({error}). Write it anew: make spike") from error
    return rows(report)


def rows(report: Mapping[str, Any]) -> list[Row]:
    """One row per figure; None where a filter never got there. Raises NoSpikeError."""
    filters = report["filters"]
    if missing := [name for name in (OURS, PEER) if name not in filters]:
        raise NoSpikeError(
            f"the last spike had no {' and no '.join(missing)}, so it compares nothing. "
            "Run one that has both: make spike"
        )
    if report["interrupted"]:
        raise NoSpikeError(
            "the last spike was interrupted: its figures are of a part. Run it again: make spike"
        )
    return [_row(name, unit, filters[OURS][name], filters[PEER][name]) for name, unit in UNITS.items()]


def _row(name: str, unit: str, ours: float | None, peer: float | None) -> Row:
    return Row(name=name, unit=unit, ours=ours, peer=peer, runs=[] if ours is None else [ours])
