"""The whole program of 1,200 filters against mocks: how long a preview takes without any cluster.

Measured in a process of its own, so that the memory is the program's.
"""

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pulumi.runtime import mocks

from components.stack import build
from lab.bench import Row
from lab.bench.fleet.catalogue import SETTINGS, catalogue_text
from surge.model import Catalogue, Settings

__all__ = ["measure", "rows"]

ROOT = Path(__file__).resolve().parents[3]


def rows() -> list[Row]:
    command = [sys.executable, "-c", "from lab.bench.fleet import mocks; mocks.measure()"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    seen = json.loads(done.stdout)
    return [
        Row(name="preview_1200_mocks_s", unit="s", ours=seen["wall_s"], runs=[seen["wall_s"]]),
        Row(name="preview_1200_mocks_cpu_s", unit="CPU s", ours=seen["cpu_s"], runs=[seen["cpu_s"]]),
        Row(name="preview_1200_mocks_rss_mib", unit="MiB", ours=seen["rss_mib"], runs=[seen["rss_mib"]]),
        Row(name="preview_1200_mocks_resources", unit="resources", ours=seen["resources"]),
    ]


class _Mocks(mocks.Mocks):
    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        made = dict(args.inputs)
        if args.typ.startswith("random:"):
            made["result"] = "secret"
        if args.typ.startswith("surge:pki:"):
            made |= {"certificate": "certificate", "private_key": "key"}
        return f"{args.name}-id", made

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[Any, Any], None]:
        raise LookupError(f"{args.token}: the program calls no functions")


def measure() -> None:
    """Read the catalogue and run the program to its end; print what that took, as JSON."""
    with tempfile.TemporaryDirectory(prefix="surge-bench-") as folder:
        file = Path(folder) / "filters.yaml"
        file.write_text(catalogue_text())
        began = time.monotonic()
        settings = Settings.parse(SETTINGS)
        catalogue = Catalogue.read(file, settings)
        asyncio.set_event_loop(asyncio.new_event_loop())
        monitor = mocks.MockMonitor(_Mocks())
        mocks.set_mocks(_Mocks(), project="surge", stack="bench", preview=True, monitor=monitor)
        mocks.test(lambda: build(settings, catalogue, root=ROOT))()
        wall = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    seen = {
        "wall_s": round(wall, 2),
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "rss_mib": round(used.ru_maxrss / 1024, 1),
        "resources": len(monitor.get_registered_resources()),
    }
    print(json.dumps(seen))
