"""The local stack: how long it takes to come up, and what it costs while nothing happens.

`make up` is timed as a user runs it, with the bootstrap that finds its tools built. cold_tools_s is the
time in which they were built, as toolchain/build.py has noted it; there is no such row where it has not.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.bench import Row
from lab.checkout import scratch_checkout
from toolchain.build import build_seconds

__all__ = ["run"]

BASE_PORT = 25_000
SETTLE_S, WATCHED_S = 20.0, 30.0
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


def run() -> list[Row]:
    with (
        tempfile.TemporaryDirectory(prefix="surge-bench-") as folder,
        scratch_checkout(Path(folder), base_port=BASE_PORT) as checkout,
    ):
        built = build_seconds(checkout.root)
        up = _timed(checkout.make, "up")
        previews = [_timed(checkout.surge, "preview", "local", "--expect-no-changes") for _ in range(3)]
        again = [_timed(checkout.make, "up") for _ in range(3)]
        time.sleep(SETTLE_S)
        before = _usage(checkout.cluster)
        time.sleep(WATCHED_S)
        after = _usage(checkout.cluster)
        down = _timed(checkout.surge, "down", "local", "--yes")
    cpu = 100 * (after.cpu_s - before.cpu_s) / WATCHED_S
    return [
        *_cold(built),
        Row(name="up_from_nothing_s", unit="s", ours=up, runs=[up]),
        Row(name="preview_no_change_s", unit="s", ours=statistics.median(previews), runs=previews),
        Row(name="up_no_change_s", unit="s", ours=statistics.median(again), runs=again),
        Row(name="idle_rss_mib", unit="MiB", ours=round(after.rss_mib, 1), runs=[after.rss_mib]),
        Row(name="idle_cpu_percent", unit="% of a core", ours=round(cpu, 1), runs=[cpu]),
        Row(name="down_s", unit="s", ours=down, runs=[down]),
    ]


@dataclass(frozen=True)
class _Usage:
    """Of all processes of a cluster; shared pages count in each."""

    rss_mib: float
    cpu_s: float


def _cold(built: dict[str, float] | None) -> list[Row]:
    if built is None:
        return []
    took = round(sum(built.values()), 1)
    return [Row(name="cold_tools_s", unit="s", ours=took, runs=[took])]


def _timed(run: Callable[..., object], *arguments: str) -> float:
    began = time.monotonic()
    run(*arguments)
    return round(time.monotonic() - began, 2)


def _usage(cluster: Path) -> _Usage:
    rss = cpu = 0.0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if str(cluster).encode() not in (entry / "environ").read_bytes():
                continue
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            rss += int((entry / "statm").read_text().split()[1]) * PAGE_MIB
        except OSError:
            continue  # it ended meanwhile
        cpu += (int(fields[11]) + int(fields[12])) / TICKS
    return _Usage(rss, cpu)
