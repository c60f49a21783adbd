"""How many workers a scale-in takes from their work, with the deletion cost and without."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from lab.bench import Row
from lab.tide import PLAIN, PRICED, tide

__all__ = ["rows", "run"]

BASE_PORT = 25_100
TIMES, SEEDS = 3, (1, 2, 3)


def run() -> list[Row]:
    with tide(BASE_PORT) as running:
        return rows([running.run(TIMES, seed) for seed in SEEDS])


def rows(reports: Sequence[Mapping[str, Any]]) -> list[Row]:
    ours, peer = ([_share(report["filters"][name]) for report in reports] for name in (PRICED, PLAIN))
    patches = [round(report["patches"] / report["filters"][PRICED]["victims"], 2) for report in reports]
    return [
        Row(
            name="busy_victims_share",
            unit="of the workers a scale-in took",
            ours=median(ours),
            peer=median(peer),
            runs=ours,
        ),
        Row(name="patches_per_victim", unit="API calls", ours=median(patches), runs=patches),
    ]


def _share(figures: Mapping[str, Any]) -> float:
    return round(figures["busy_victims"] / max(1, figures["victims"]), 4)
