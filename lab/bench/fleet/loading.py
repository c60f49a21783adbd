"""How long the catalogue of 1,200 filters takes to load and to check against the cluster."""

import statistics
import tempfile
import time
from pathlib import Path

from lab.bench import Row
from lab.bench.fleet.catalogue import SETTINGS, catalogue_text
from surge.model import Catalogue, Settings

__all__ = ["rows"]

RUNS = 5


def rows() -> list[Row]:
    settings = Settings.parse(SETTINGS)
    with tempfile.TemporaryDirectory(prefix="surge-bench-") as folder:
        file = Path(folder) / "filters.yaml"
        file.write_text(catalogue_text())
        runs = [_load(file, settings) for _ in range(RUNS)]
    return [Row(name="catalogue_load_1200_s", unit="s", ours=statistics.median(runs), runs=runs)]


def _load(file: Path, settings: Settings) -> float:
    began = time.monotonic()
    Catalogue.read(file, settings)
    return round(time.monotonic() - began, 3)
