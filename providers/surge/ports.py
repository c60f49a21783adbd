"""Who listens on a loopback port, from /proc."""

import time
from collections.abc import Iterable
from pathlib import Path

from .problems import ProblemError

__all__ = ["demand_free", "holder", "listening"]

LISTEN = "0A"
CLOSING_S = 2.0


def demand_free(ports: Iterable[int]) -> None:
    """Raise ProblemError naming who holds the first port that is taken.

    A process that was killed is no longer seen while its sockets are closed still: that is waited for.
    """
    wanted, until = set(ports), time.monotonic() + CLOSING_S
    while taken := sorted((port, inode) for port, inode in listening().items() if port in wanted):
        port, inode = taken[0]
        who = holder(inode)
        if who is not None or time.monotonic() > until:
            raise ProblemError(
                f"port {port} is taken by {who or 'a process of another user'}: the process could not listen "
                "there. Stop that one, or give this cluster other ports: cluster.base-port in surge:settings"
            )
        time.sleep(0.05)


def listening() -> dict[int, str]:
    """Ports that somebody listens on, with the inode of the socket."""
    found = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        path = Path(table)
        if not path.exists():
            continue
        for line in path.read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == LISTEN:
                found[int(columns[1].rpartition(":")[2], 16)] = columns[9]
    return found


def holder(inode: str) -> str | None:
    """`pid 123 (command line)` of the process that has the socket open; None when none is seen to live."""
    wanted = f"socket:[{inode}]"
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and _has_open(process, wanted):
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            # One that is ending has no command line any more.
            return f"pid {process.name} ({command.strip()[:120]})" if command else None
    return None


def _has_open(process: Path, wanted: str) -> bool:
    try:
        return any(str(link.readlink()) == wanted for link in (process / "fd").iterdir())
    except OSError:
        return False  # it ended meanwhile, or is another user's
