"""A stack's lock in the file backend: whose is it, and may it be removed?"""

import getpass
import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from surge.cli.console import Refusal

__all__ = ["Lock", "clear_stale", "judge", "locks_of"]

Verdict = Literal["stale", "alive", "foreign", "unreadable"]


@dataclass(frozen=True)
class Lock:
    """One lock file. pid is 0 when the file could not be read: an engine killed while it wrote it."""

    path: Path
    pid: int
    user: str
    host: str
    since: str


def clear_stale(state: Path, project: str, stack: str) -> list[str]:
    """Remove locks that dead engines of ours left behind; return a line for each.

    Raises Refusal when somebody else, or an engine that still runs, holds the stack.
    """
    removed: list[str] = []
    for lock in locks_of(state, project, stack):
        verdict = judge(lock, host=socket.gethostname(), user=getpass.getuser(), engine_alive=_engine_alive)
        if verdict in {"alive", "foreign"}:
            raise Refusal(*_why_not(lock, verdict, stack))
        lock.path.unlink(missing_ok=True)
        removed.append(f"removed the lock that process {lock.pid} left behind: it is gone")
    return removed


def locks_of(state: Path, project: str, stack: str) -> list[Lock]:
    folder = state / ".pulumi" / "locks" / "organization" / project / stack
    return [_read(path) for path in sorted(folder.glob("*.json"))] if folder.is_dir() else []


def judge(lock: Lock, *, host: str, user: str, engine_alive: Callable[[int], bool]) -> Verdict:
    """Only a lock of our own user, from this host, whose engine is gone may be removed."""
    if not lock.pid:
        return "unreadable"
    if lock.host != host or lock.user != user:
        return "foreign"
    return "alive" if engine_alive(lock.pid) else "stale"


def _read(path: Path) -> Lock:
    try:
        content = json.loads(path.read_text())
        return Lock(
            path,
            pid=int(content["pid"]),
            user=str(content["username"]),
            host=str(content["hostname"]),
            since=str(content.get("timestamp", "")),
        )
    except (ValueError, KeyError, TypeError):
        return Lock(path, pid=0, user="", host="", since="")


def _engine_alive(pid: int) -> bool:
    """A pid is handed out again: it is the engine's only while its program is pulumi."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return os.path.basename(command).startswith(b"pulumi")  # noqa: PTH119 -- bytes


def _why_not(lock: Lock, verdict: Verdict, stack: str) -> tuple[str, ...]:
    if verdict == "alive":
        return (
            f"stack {stack} is being changed by another engine of yours: process {lock.pid}.",
            "Two at once would damage its state.",
            f"Wait for it, or interrupt it: kill -INT {lock.pid}",
        )
    return (
        f"stack {stack} is locked by {lock.user}@{lock.host} (process {lock.pid}), since {lock.since}.",
        "Only they can tell whether their update still runs; two at once would damage the state.",
        f"Ask them; when it is certainly gone: rm {lock.path}",
    )
