"""How long the catalogue of 1,200 filters takes to load and to check against the cluster.

Instead: the same, with the YAML loader that is written in Python.
"""

import statistics
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import yaml

from lab.bench import Row
from lab.bench.fleet.catalogue import SETTINGS, catalogue_text
from surge.model import Catalogue, Settings

__all__ = ["load_1200", "rows"]

RUNS, PEER_RUNS = 5, 2


def rows() -> list[Row]:
    return [load_1200()]


def load_1200() -> Row:
    settings = Settings.parse(SETTINGS)
    with tempfile.TemporaryDirectory(prefix="surge-bench-") as folder:
        file = Path(folder) / "filters.yaml"
        file.write_text(catalogue_text())
        runs = [_load(file, settings) for _ in range(RUNS)]
        with patch.object(yaml, "CSafeLoader", yaml.SafeLoader):
            instead = [_load(file, settings) for _ in range(PEER_RUNS)]
    ours, peer = statistics.median(runs), statistics.median(instead)
    return Row(name="catalogue_load_1200_s", unit="s", ours=ours, peer=peer, runs=runs)


def _load(file: Path, settings: Settings) -> float:
    began = time.monotonic()
    Catalogue.read(file, settings)
    return round(time.monotonic() - began, 3)
