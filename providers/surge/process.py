"""The life of surge:local:Process: create, update, read, delete."""

import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from supervisor.states import ProcessStates

from . import folders, ports
from .orphans import PROCESS_MARKER, end, marked
from .probe import is_ready
from .problems import ProblemError
from .process_spec import ProcessSpec, Ready
from .supervisor import ALIVE, Seen, Supervisor

__all__ = ["NotReadyError", "Tell", "delete", "is_running", "put", "write_live_files"]

Tell = Callable[[str], None]

# One early exit may be a race with something that starts beside it; three are a fault of its own.
STARTS = 3
QUIET_S = 2.0
LOG_LINES = 20


class NotReadyError(ProblemError):
    """The process was made and did not come up: its state must be kept."""


def put(spec: ProcessSpec, *, stale: list[str], cancelled: threading.Event, tell: Tell) -> None:
    """Make the process be as `spec` says, and wait until it is up. A leftover of it is replaced.

    stale: files of an earlier spec to remove. Raises NotReadyError when it was made and did not come up.
    """
    directory = Path(spec.directory)
    folders.claim(directory)
    supervisor = Supervisor(spec.directory)
    supervisor.stop(spec.process, timeout_s=spec.stop_timeout_s)
    _end_leftovers(spec.marker, spec.stop_timeout_s, spec.stop_signal)
    ports.demand_free(spec.ports)
    files = spec.filled({**spec.files, **spec.live_files})
    with supervisor.locked():
        folders.claim(directory)
        folders.write_all(Path(spec.folder), files, stale)
        supervisor.ensure()
        supervisor.add(spec.process, spec.section(supervisor.program_file(spec.process)), spec.program())
    _wait(spec, supervisor, cancelled, tell)


def write_live_files(spec: ProcessSpec, *, stale: list[str]) -> None:
    """Rewrite the files that need no restart."""
    folders.write_all(Path(spec.folder), spec.filled(dict(spec.live_files)), stale)


def is_running(spec: ProcessSpec) -> bool:
    seen = Supervisor(spec.directory).see(spec.process)
    return seen is not None and seen.state in ALIVE


def delete(spec: ProcessSpec) -> None:
    """Stop it and remove what it had, whatever of that is still there."""
    supervisor = Supervisor(spec.directory)
    directory = Path(spec.directory)
    supervisor.stop(spec.process, timeout_s=spec.stop_timeout_s)
    _end_leftovers(spec.marker, spec.stop_timeout_s, spec.stop_signal)
    if not (directory / folders.OWNER).exists():
        supervisor.kill()
        return
    with supervisor.locked():
        folders.remove_tree(Path(spec.folder))
        supervisor.forget(spec.process)


def _end_leftovers(marker: str, timeout_s: float, stop_signal: str) -> None:
    """End what a supervisor that was killed left behind, and what left its process group."""
    number = signal.Signals[f"SIG{stop_signal}"]
    end(lambda: marked(PROCESS_MARKER, marker), timeout_s=timeout_s, how=number)


def _wait(spec: ProcessSpec, supervisor: Supervisor, cancelled: threading.Event, tell: Tell) -> None:
    ready = Ready.model_validate(spec.filled(spec.ready.model_dump())) if spec.ready else None
    started = time.monotonic()
    timeout_s = ready.timeout_s if ready else 60
    interval_s = ready.interval_s if ready else 0.1
    pids: set[int] = set()
    told = started
    saw = "not started yet"
    while (waited := time.monotonic() - started) < timeout_s:
        seen = supervisor.see(spec.process)
        _demand_alive(spec, seen, pids)
        if seen is not None and seen.pid:
            up, saw = _look(spec, ready, seen)
            if up:
                return
        if time.monotonic() - told >= QUIET_S:
            tell(f"waiting for {spec.process} for {waited:.0f} s: {saw}")
            told = time.monotonic()
        if cancelled.wait(interval_s):
            raise NotReadyError(
                f"{spec.process}: stopped waiting at the interrupt ({saw}). It is kept: "
                "run the update again, or destroy"
            )
    raise NotReadyError(_failure(spec, f"is not ready after {timeout_s:g} s ({saw})"))


def _look(spec: ProcessSpec, ready: Ready | None, seen: Seen) -> tuple[bool, str]:
    if ready is None:
        return seen.state == ProcessStates.RUNNING, f"state {seen.name}"
    return is_ready(ready, spec.full_environment())


def _demand_alive(spec: ProcessSpec, seen: Seen | None, pids: set[int]) -> None:
    """Raise NotReadyError once it is clear that it will not come up."""
    if seen is None:
        raise NotReadyError(
            f"{spec.process}: its supervisor was killed while it started. Run the update again"
        )
    if seen.pid:
        pids.add(seen.pid)
    ended = seen.state not in ALIVE or (seen.state == ProcessStates.BACKOFF and len(pids) >= STARTS)
    if ended:
        reason = seen.reason or f"exit status {seen.exit_status}"
        raise NotReadyError(_failure(spec, f"ended before it was ready ({reason})"))


def _failure(spec: ProcessSpec, what: str) -> str:
    try:
        with Path(spec.log).open(encoding="utf-8", errors="replace") as file:
            lines = [line.rstrip() for line in deque(file, LOG_LINES)]
    except OSError:
        lines = []
    tail = "".join(f"\n  | {line}" for line in lines) or "\n  | (it wrote nothing)"
    return f"{spec.process} {what}. Its last lines, of {spec.log}:{tail}"
