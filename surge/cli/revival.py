"""Processes of a local stack that died while nobody looked: an update is shown them, so that it revives them.

By itself the engine compares what the files ask for with what it recorded, and recorded is that they run.
"""

from pathlib import Path

from surge.cli.operation import Session
from surge.cli.processes import process_states
from surge.cli.stacks import cluster_directory
from surge.model import Settings

__all__ = ["dead_processes", "show_dead"]

# Nothing else is looked at: the cluster's objects cannot be read while it is down.
PROCESSES = "**surge:local:Process::**"


def show_dead(work: Session, settings: Settings) -> None:
    """Have the engine look at the processes of `work`'s stack when one of them is dead. Raises Refusal."""
    dead = dead_processes(work.root, settings)
    if work.new or not dead:
        return
    work.display.say(f"dead: {', '.join(dead)}. The engine is shown them first, so that it starts them again")
    work.perform(work.stack.refresh, show_secrets=False, target=[PROCESSES])


def dead_processes(root: Path, settings: Settings) -> list[str]:
    """Return the names of a local cluster's processes that nobody will start again; none elsewhere."""
    if settings.stack_kind != "local":
        return []
    states, _ = process_states(str(cluster_directory(root, settings.cluster.name)))
    return [state.name for state in states if not state.kept]
