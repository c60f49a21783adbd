"""What must hold on this machine before a local stack is touched; every problem at once."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from providers.surge.folders import demand_ours
from providers.surge.problems import ProblemError
from surge.cli.console import Refusal
from surge.cli.host_processes import HostProcess, listeners, marked, strangers
from surge.cli.stacks import cluster_directory
from surge.model import Settings
from surge.policy.ports import SERVICES, Ports

__all__ = [
    "ROOM_BYTES",
    "check",
    "missing_tools",
    "permission_problems",
    "port_problems",
    "refuse_unless_possible",
    "room_problem",
    "stranger_problems",
]

TOOLS = (
    "pulumi",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kwok",
    "keda-operator",
    "keda-adapter",
)
# Debian package -> a program in it.
PACKAGES = {"rabbitmq-server": "rabbitmq-server", "prometheus": "prometheus"}

# etcd's write-ahead log takes 64 MB pieces, Prometheus and the logs stay below a few hundred; the
# broker stops publishers below its own disk limit.
ROOM_BYTES = 2 * 1024**3


def refuse_unless_possible(root: Path, settings: Settings) -> None:
    """Raise Refusal, before anything is touched, when this machine cannot run the stack."""
    problems = check(root, cluster_directory(root, settings.cluster.name), settings.ports)
    if problems:
        raise Refusal(*problems, "Nothing has been started or changed.")


def check(root: Path, directory: Path, ports: Ports) -> list[str]:
    """Return everything that keeps a local stack from starting, one entry each, with the way out."""
    own = {process.pid for process in marked(directory)}
    taken = listeners(ports.by_service.values())
    return [
        *missing_tools(root / ".tools" / "bin", os.environ.get("PATH", "")),
        *permission_problems(root, directory),
        *room_problem(shutil.disk_usage(root).free, root),
        *port_problems(ports, taken, own),
        *stranger_problems(strangers(directory), root),
    ]


def missing_tools(tools: Path, path: str) -> list[str]:
    """Return what is not built or not installed. path: as in the environment."""
    problems: list[str] = []
    absent = [name for name in TOOLS if shutil.which(name, path=f"{tools}:{path}") is None]
    if absent:
        problems.append(f"not built: {', '.join(absent)}. Build them: make tools")
    # Debian puts the broker's server script where only root's PATH leads.
    wide = f"{path}:/usr/sbin:/usr/lib/rabbitmq/bin"
    packages = [package for package, name in PACKAGES.items() if shutil.which(name, path=wide) is None]
    if packages:
        problems.append(
            f"not installed: {', '.join(packages)}. "
            f"Install: sudo apt-get install --no-install-recommends {' '.join(packages)}"
        )
    return problems


def permission_problems(root: Path, directory: Path) -> list[str]:
    """Everything we write lies in the checkout; what is there must be our own."""
    problems: list[str] = []
    if not os.access(root, os.W_OK):
        problems.append(
            f"no permission to write in {root}, where a stack keeps its state. "
            f"Give it to yourself: sudo chown -R {os.geteuid()} {root}"
        )
    for place in (root / ".surge", root / ".surge" / "state", directory):
        if place.exists() and not place.is_dir():
            problems.append(
                f"{place} is a file, where a folder of ours should be. Move it away: mv {place} {place}.old"
            )
        elif place.exists() and (place.stat().st_uid != os.geteuid() or not os.access(place, os.W_OK)):
            problems.append(
                f"{place} belongs to user {place.stat().st_uid}: somebody else's stack, or begun as root. "
                f"Take it: sudo chown -R {os.geteuid()} {place}, or stop that stack as its owner: surge down"
            )
    try:
        demand_ours(directory)
    except ProblemError as error:
        problems.append(str(error))
    return problems


def room_problem(free_bytes: int, root: Path) -> list[str]:
    if free_bytes >= ROOM_BYTES:
        return []
    text = (
        f"{free_bytes / 1024**3:.1f} GiB free below {root}: on a full disk the broker refuses messages and "
        f"etcd its writes. Make room for {ROOM_BYTES / 1024**3:.0f} GiB; see: du -xsh {root}/.[a-z]*"
    )
    return [text]


def port_problems(ports: Ports, taken: Mapping[int, HostProcess | None], own: Iterable[int]) -> list[str]:
    """A port is fine when it is free, or when a process of this very cluster has it."""
    ours = set(own)
    problems: list[str] = []
    for service in SERVICES:
        port = ports.by_service[service]
        if port not in taken:
            continue
        holder = taken[port]
        if holder is not None and holder.pid in ours:
            continue
        who = f"{holder.name}, process {holder.pid}" if holder else "a process of another user"
        end = f"end it: kill {holder.pid}" if holder else f"see whose it is: sudo ss -ltnp 'sport = :{port}'"
        problems.append(
            f"port {port} ({service.replace('_', ' ')}) is taken by {who}. "
            f"Choose another cluster.base-port in the stack's settings, or {end}"
        )
    return problems


def stranger_problems(found: Iterable[tuple[HostProcess, Path]], root: Path) -> list[str]:
    """What works in a cluster's directory loses its ground when that is deleted. Often it is a shell."""
    return [
        f"{process.name}, process {process.pid}, works in {place}, which surge makes and deletes. "
        f"If it is your own shell, leave that folder: cd {root}; if not, end it: kill {process.pid}"
        for process, place in found
    ]
