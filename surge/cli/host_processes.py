"""Processes and ports of this machine, as /proc shows them."""

import os
import signal
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from providers.surge.orphans import PROCESS_MARKER, SUPERVISOR_MARKER

__all__ = [
    "HostProcess",
    "listeners",
    "marked",
    "parent",
    "port_is_free",
    "ports_by_role",
    "started_at",
    "stop",
    "strangers",
    "with_variable",
]

LISTEN = "0A"


@dataclass(frozen=True)
class HostProcess:
    """name: of its program. role: its name in the cluster, "" for the supervisor and strangers."""

    pid: int
    name: str
    role: str = ""


def marked(directory: Path) -> list[HostProcess]:
    """Every process, other than this one, that was started for the cluster in `directory`: by its marker."""
    found: list[HostProcess] = []
    for pid in _pids():
        roles = _roles(directory, _environment(pid))
        if pid != os.getpid() and roles:
            found.append(HostProcess(pid, _name(pid), roles[0]))
    return found


def strangers(directory: Path) -> list[tuple[HostProcess, Path]]:
    """Every process that works in `directory` or below without that marker, and where it does."""
    found: list[tuple[HostProcess, Path]] = []
    for pid in _pids():
        place = _place(pid)
        if pid == os.getpid() or place is None or not place.is_relative_to(directory):
            continue
        environment = _environment(pid)
        # Without any it has just been forked, or has ended meanwhile.
        if any(environment) and not _roles(directory, environment):
            found.append((HostProcess(pid, _name(pid)), place))
    return found


def with_variable(name: str, prefix: str) -> list[tuple[HostProcess, str]]:
    """Every process that was started with a variable whose value begins so, with the rest of the value."""
    wanted = f"{name}={prefix}".encode()
    return [
        (HostProcess(pid, _name(pid)), each.removeprefix(wanted).decode())
        for pid in _pids()
        for each in _environment(pid)
        if pid != os.getpid() and each.startswith(wanted)
    ]


def ports_by_role(processes: Iterable[HostProcess]) -> dict[str, list[int]]:
    """Return the ports that each process of a cluster listens on, itself or by its children, sorted."""
    sockets = dict(_listening())
    found: dict[str, set[int]] = {}
    for process in processes:
        ports = {sockets[inode] for inode in _socket_inodes(process.pid) if inode in sockets}
        found.setdefault(process.role, set()).update(ports)
    return {role: sorted(ports) for role, ports in found.items()}


def listeners(ports: Iterable[int]) -> dict[int, HostProcess | None]:
    """Return who listens on each of `ports`; None when it is a process we may not look at."""
    wanted = set(ports)
    sockets = {inode: port for inode, port in _listening() if port in wanted}
    found: dict[int, HostProcess | None] = dict.fromkeys(sockets.values())
    for pid in _pids() if sockets else ():
        for inode in _socket_inodes(pid):
            if inode in sockets:
                found[sockets[inode]] = HostProcess(pid, _name(pid))
    return found


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        # A closed connection keeps a port for a minute, without keeping a server from it.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def stop(
    processes: Iterable[HostProcess], patience_s: float = 10.0, how: signal.Signals = signal.SIGTERM
) -> None:
    """End them: asked first, and SIGKILL for those still there after `patience_s` seconds."""
    left = [process.pid for process in processes]
    _signal(left, how)
    until = time.monotonic() + patience_s
    while (left := [pid for pid in left if _status(pid)]) and time.monotonic() < until:
        time.sleep(0.1)
    _signal(left, signal.SIGKILL)


def started_at(pid: int) -> int | None:
    """When the process started, in ticks since boot: with its pid this names it. None when it has ended."""
    status = _status(pid)
    return int(status[19]) if status else None


def parent(pid: int) -> int | None:
    """Return the pid of its parent; None when it has ended."""
    status = _status(pid)
    return int(status[1]) if status else None


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _status(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; none when it has ended, whether reaped or not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [] if fields[0] in "ZX" else fields


def _roles(directory: Path, environment: Sequence[bytes]) -> list[str]:
    """Its name in the cluster, "" for the supervisor; nothing for a stranger."""
    process = f"{PROCESS_MARKER}={directory}:".encode()
    roles = [each.removeprefix(process).decode() for each in environment if each.startswith(process)]
    return roles or [""] * (f"{SUPERVISOR_MARKER}={directory}".encode() in environment)


def _place(pid: int) -> Path | None:
    """Its working directory; None when that is deleted, or not ours to see."""
    try:
        place = Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None
    return None if place.name.endswith(" (deleted)") else place


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # gone, or somebody else's
        return []


def _pids() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            yield int(entry.name)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return "?"


def _listening() -> Iterator[tuple[str, int]]:
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net") / table
        for row in path.read_text().splitlines()[1:] if path.exists() else ():
            fields = row.split()
            if fields[3] == LISTEN:
                yield fields[9], int(fields[1].rpartition(":")[2], 16)


def _socket_inodes(pid: int) -> Iterator[str]:
    try:
        handles = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return
    for handle in handles:
        try:
            target = os.readlink(handle)  # noqa: PTH115 -- not a path: socket:[123]
        except OSError:
            continue
        if target.startswith("socket:["):
            yield target[8:-1]
