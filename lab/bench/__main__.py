"""`python -m lab.bench [NAME...]`: run the benches named, or all, and print their tables."""

import argparse
import importlib
import json
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lab.bench import Row, rows_as_json

ROOT = Path(__file__).resolve().parents[2]
# In the order of their run; each is a module beside this file with a function `run() -> Iterable[Row]`.
BENCHES = ("laws", "saturation", "stack", "fleet", "spike", "scale_in")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.bench", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"of {', '.join(BENCHES)}; all of them without a name")
    names = parser.parse_args().name or list(BENCHES)
    if unknown := [name for name in names if name not in BENCHES]:
        parser.error(f"there is no bench {unknown[0]!r}; there are {', '.join(BENCHES)}")
    console = Console()
    for name in names:
        console.print(f"{name} ...", style="dim")
        began = time.monotonic()
        path = ROOT / "build" / "bench" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows: list[Row] = []
        for row in importlib.import_module(f"lab.bench.{name}").run():
            rows.append(row)
            # After each, so that a long bench which fails late has told what it knows.
            path.write_text(json.dumps(rows_as_json(rows), indent=1) + "\n")
        console.print(_table(name, rows))
        console.print(f"{path.relative_to(ROOT)}, {time.monotonic() - began:.0f} s\n", style="dim")
    return 0


def _table(name: str, rows: list[Row]) -> Table:
    table = Table("figure", "unit", "ours", "instead", "ratio", title=name, title_justify="left")
    for row in rows:
        table.add_row(row.name, row.unit, _shown(row.ours), _shown(row.peer), _shown(row.ratio))
    return table


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(main())
