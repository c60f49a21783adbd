"""What a killed command left at work: its engine with the plugins, found by a mark in their environment."""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from surge.cli.host_processes import HostProcess, parent, started_at, stop, with_variable

__all__ = ["abandoned", "end_abandoned", "mark"]

COMMAND = "SURGE_COMMAND"
# An engine that is interrupted lets the steps that run come to their end; a step ends its waiting at once.
PATIENCE_S = 30.0


def mark(root: Path, stack: str) -> dict[str, str]:
    """Return the variable that tells, of an engine on `stack`, which command started it: this one."""
    return {COMMAND: f"{_subject(root, stack)}{os.getpid()}:{started_at(os.getpid())}"}


def abandoned(root: Path, stack: str) -> list[HostProcess]:
    """Return the processes at work on `stack` whose command is gone."""
    found = with_variable(COMMAND, _subject(root, stack))
    return [process for process, command in found if not _lives(command)]


def end_abandoned(
    root: Path, stack: str, tell: Callable[[str], None], patience_s: float = PATIENCE_S
) -> None:
    """Interrupt an abandoned engine, as Ctrl-C does; what is left of it after `patience_s` is killed.

    tell: gets one line when there is one.
    """
    left = abandoned(root, stack)
    if not left:
        return
    names = ", ".join(f"{process.name} ({process.pid})" for process in left)
    tell(f"a killed command left {names} at work on {stack}: interrupting it, for up to {patience_s:g} s")
    stop(_heads(left), patience_s, signal.SIGINT)
    stop(abandoned(root, stack))


def _subject(root: Path, stack: str) -> str:
    return f"{root}:{stack}:"


def _lives(command: str) -> bool:
    """A pid is handed out again: it is the command's only while it started when the command did."""
    pid, _, since = command.partition(":")
    return pid.isdigit() and str(started_at(int(pid))) == since


def _heads(processes: Sequence[HostProcess]) -> list[HostProcess]:
    """Without what another of them started: an engine ends its plugins itself, once it has recorded all."""
    pids = {process.pid for process in processes}
    return [process for process in processes if parent(process.pid) not in pids]
