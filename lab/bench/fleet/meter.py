"""What a command costs: its time, its processors' seconds, its memory, and what it asked the API server."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Cost", "metered", "requests_of_administrators", "until_calm"]

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20
LOOK_S = 0.25
CALM_LOOK_S, LONGEST_CALM_S = 30.0, 600.0
CORES = os.cpu_count() or 1
DISPATCHED = re.compile(
    r'^apiserver_flowcontrol_dispatched_requests_total\{[^}]*priority_level="exempt"[^}]*\} (\S+)$',
    re.MULTILINE,
)


@dataclass(frozen=True)
class Cost:
    """cpu_s, rss_mib: of the command and all its descendants; rss_mib at its peak, shared pages in each."""

    wall_s: float
    cpu_s: float
    rss_mib: float
    api_calls: int


def metered(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    calls: Callable[[], int],
    timeout_s: float,
) -> Cost:
    """Run `command` to its end. calls: how many requests the API server has served by now.

    Raises RuntimeError with the end of its output when it fails, TimeoutExpired.
    """
    log = folder / "command.log"
    before, began = calls(), time.monotonic()
    cpu: dict[int, float] = {}
    peak = 0.0
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ) as process,
    ):
        while process.poll() is None:
            if time.monotonic() - began > timeout_s:
                process.terminate()
                raise subprocess.TimeoutExpired(command, timeout_s)
            seen = dict(_tree(process.pid))
            cpu |= {pid: used for pid, (used, _) in seen.items()}
            peak = max(peak, sum(rss for _, rss in seen.values()))
            time.sleep(LOOK_S)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}\n{log.read_text()[-4000:]}")
    return Cost(
        wall_s=round(time.monotonic() - began, 2),
        cpu_s=round(sum(cpu.values()), 1),
        rss_mib=round(peak, 1),
        api_calls=calls() - before,
    )


def requests_of_administrators(metrics: str) -> int:
    """Of the API server's own metrics: requests at the priority level that only administrators have.

    The engine's plugin is one; controllers, KEDA and the workers are users of their own.
    """
    return sum(int(float(found)) for found in DISPATCHED.findall(metrics))


def _busy_s() -> float:
    fields = Path("/proc/stat").read_text().split()[1:8]
    user, nice, system, _idle, _iowait, irq, softirq = map(int, fields)
    return (user + nice + system + irq + softirq) / TICKS


def until_calm(busy_s: Callable[[], float] = _busy_s, *, look_s: float = CALM_LOOK_S) -> float:
    """Return, with the seconds it took, once a tenth of the processors is idle and their work falls no more.

    It gives up after LONGEST_CALM_S. busy_s: their seconds of work so far; by default this machine's.
    """
    began, last, done = time.monotonic(), 0.0, busy_s()
    while time.monotonic() - began < LONGEST_CALM_S:
        time.sleep(look_s)
        before, done = done, busy_s()
        work = done - before
        if work < 0.9 * CORES * look_s and work > 0.9 * last > 0:
            break
        last = work
    return time.monotonic() - began


def _tree(root: int) -> Iterator[tuple[int, tuple[float, float]]]:
    """(CPU seconds so far, resident MiB) of a process and its descendants, by process id."""
    children: dict[int, list[int]] = {}
    usage: dict[int, tuple[float, float]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            rss = int((entry / "statm").read_text().split()[1]) * PAGE_MIB
        except OSError:
            continue  # it ended meanwhile
        pid = int(entry.name)
        children.setdefault(int(fields[1]), []).append(pid)
        usage[pid] = ((int(fields[11]) + int(fields[12])) / TICKS, rss)
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        waiting += children.get(pid, [])
        if pid in usage:
            yield pid, usage[pid]
