"""Processes of ours that no supervisor knows, found by the marker in their environment."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["PROCESS_MARKER", "SUPERVISOR_MARKER", "end", "marked"]

PROCESS_MARKER = "SURGE_PROCESS"
SUPERVISOR_MARKER = "SURGE_SUPERVISOR"


def marked(marker: str, value: str) -> list[int]:
    """Ids of the processes that were started with `marker=value`; zombies and ourselves are none."""
    wanted = f"{marker}={value}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue  # it ended meanwhile, or is another user's
    return found


def end(find: Callable[[], list[int]], *, timeout_s: float, how: signal.Signals = signal.SIGTERM) -> None:
    """Stop what `find` finds: asked first, killed after `timeout_s`. Returns when none is left."""
    asked: set[int] = set()
    deadline = time.monotonic() + timeout_s
    while found := find():
        if time.monotonic() < deadline:
            _send(set(found) - asked, how)
            asked.update(found)
        else:
            _send(set(found), signal.SIGKILL)
        time.sleep(0.05)


def _send(processes: set[int], number: signal.Signals) -> None:
    for process in processes:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            continue
