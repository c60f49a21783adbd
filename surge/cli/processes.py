"""The processes of a local cluster as its supervisor sees them."""

from pathlib import Path

from providers.surge.problems import ProblemError
from providers.surge.supervisor import Seen, Supervisor
from surge.cli.host_processes import marked, ports_by_role
from surge.cli.state import ProcessState

__all__ = ["process_states"]


def process_states(directory: str) -> tuple[list[ProcessState], list[str]]:
    """Return the state of every process that should run in `directory`, and what could not be read."""
    supervisor = Supervisor(directory)
    names = sorted(path.stem for path in supervisor.programs.glob("*.conf"))
    if not names:
        return [], [f"no process is recorded in {directory}"]
    try:
        seen = {name: supervisor.see(name) for name in names}
    except ProblemError as error:
        return [ProcessState(name=name, state="UNKNOWN") for name in names], [str(error)]
    ports = ports_by_role(marked(Path(directory)))
    return [_state(name, seen[name], ports.get(name, [])) for name in names], []


def _state(name: str, seen: Seen | None, ports: list[int]) -> ProcessState:
    if seen is None:
        # Whatever of it still runs, nobody would restart it.
        return ProcessState(name=name, state="UNSUPERVISED", ports=ports)
    return ProcessState(name=name, state=seen.name, pid=seen.pid or None, ports=ports)
