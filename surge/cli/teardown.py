"""The last resort of `surge down` on a local stack: what the engine cannot remove, swept by its marker."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from providers.surge.folders import OWNER
from providers.surge.supervisor import Supervisor
from surge.cli.host_processes import HostProcess, listeners, marked, stop
from surge.cli.notes import note_files
from surge.cli.stacks import PROJECT, cluster_directory, kubeconfig_file, state_directory
from surge.policy.ports import Ports

__all__ = ["forget", "leftovers", "remove_empty", "sweep"]


def sweep(root: Path, cluster: str) -> list[str]:
    """End every process of the cluster and delete its directory; return a line for each.

    A directory without our mark is somebody else's, and stays.
    """
    directory = cluster_directory(root, cluster)
    done: list[str] = []
    # The supervisor restarts what it finds dead, and a child may have been born during the first look.
    for _ in range(3):
        found = marked(directory)
        if not found:
            break
        stop(found)
        done.append(f"ended {_named(found)}")
    Supervisor(str(directory)).socket.unlink(missing_ok=True)
    if (directory / OWNER).exists() or (directory.is_dir() and not any(directory.iterdir())):
        shutil.rmtree(directory)
        done.append(f"deleted {directory}")
    return done


def forget(root: Path, stack: str) -> list[str]:
    """Delete every file that a checkout keeps of `stack`, a state that the engine cannot read among them.

    Returns a line for each that the engine should have deleted.
    """
    place, kept = root / ".surge", state_directory(root) / ".pulumi"
    done: list[str] = []
    for own in (kubeconfig_file(root, stack), place / f"Pulumi.{stack}.yaml", *note_files(root, stack)):
        own.unlink(missing_ok=True)
    for path in sorted((kept / "stacks" / PROJECT).glob(f"{stack}.json*")):
        path.unlink()
        done.append(f"deleted {path}")
    for folder in (
        kept / "history" / PROJECT / stack,
        kept / "backups" / PROJECT / stack,
        kept / "locks" / "organization" / PROJECT / stack,
    ):
        if folder.exists():
            shutil.rmtree(folder)
            done.append(f"deleted {folder}")
    return done


def remove_empty(root: Path) -> bool:
    """Delete .surge unless another stack or cluster lives in it; return whether it is gone."""
    place = root / ".surge"
    stacks = list((state_directory(root) / ".pulumi" / "stacks" / PROJECT).glob("*.json"))
    clusters = place / "clusters"
    if stacks or (clusters.is_dir() and any(clusters.iterdir())):
        return False
    if place.exists():
        shutil.rmtree(place)
    return True


def leftovers(root: Path, cluster: str, ports: Ports) -> list[str]:
    """Return what is still there and should not be, one line each."""
    directory = cluster_directory(root, cluster)
    left = [f"process {process.pid} ({process.name}) still runs" for process in marked(directory)]
    for port, holder in sorted(listeners(ports.by_service.values()).items()):
        who = f"{holder.name}, process {holder.pid}" if holder else "another user's process"
        left.append(f"port {port} is still taken by {who}")
    if directory.exists():
        left.append(f"{directory} is still there: it holds files that surge did not make")
    return left


def _named(processes: Sequence[HostProcess]) -> str:
    return ", ".join(f"{process.name} ({process.pid})" for process in processes)
