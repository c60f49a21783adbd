"""What is known of a running stack at one moment, and what follows from it. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["FilterState", "ProcessState", "Snapshot", "health", "hpa_state", "open_ends"]

HEALTHY, DEGRADED, NOT_RUNNING = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class FilterState:
    """One filter. None: not known, which is never the same as zero.

    signal, minimum, maximum: from the catalogue; of a pooled filter they are its set's, and so are desired,
    ready and ratio. desired: workers the HPA asks for, ready: workers
    that consume. busy: messages workers hold, backlog: messages that wait, ratio: busy share of
    the slots, age_s: of the sample behind them, wall seconds. metric: "ok", or why there is none.
    hpa: "ok", "at rest" (scaled to zero), or why the HPA cannot scale.
    """

    name: str
    signal: str
    minimum: int
    maximum: int
    desired: int | None = None
    ready: int | None = None
    busy: float | None = None
    backlog: float | None = None
    ratio: float | None = None
    age_s: float | None = None
    metric: str = "ok"
    hpa: str = "ok"


@dataclass(frozen=True, kw_only=True)
class ProcessState:
    """state: as the supervisor calls it, such as RUNNING. ports: where it listens."""

    name: str
    state: str
    pid: int | None = None
    ports: Sequence[int] = ()

    @property
    def runs(self) -> bool:
        return self.state == "RUNNING"

    @property
    def kept(self) -> bool:
        """Whether it runs or its supervisor starts it again; of any other the engine has to be told."""
        return self.state in {"STARTING", "RUNNING", "BACKOFF"}


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """problems: what could not be read at all, one line each."""

    filters: Sequence[FilterState] = ()
    processes: Sequence[ProcessState] = ()
    problems: Sequence[str] = ()


def health(snapshot: Snapshot) -> int:
    """Return 0 when the loop is closed, 1 when something is amiss, 2 when nothing runs."""
    if not any(process.runs for process in snapshot.processes) and all(
        state.ready is None for state in snapshot.filters
    ):
        return NOT_RUNNING
    return DEGRADED if open_ends(snapshot) else HEALTHY


def open_ends(snapshot: Snapshot) -> list[str]:
    """Return what keeps the loop open, one line each; nothing when it is closed.

    Closed: every process runs, every filter has its minimum of workers Ready, its saturation is
    served, and its HPA has a current metric.
    """
    ends = list(snapshot.problems)
    ends += [
        f"process {process.name} is {process.state.lower()}"
        for process in snapshot.processes
        if not process.runs
    ]
    if not snapshot.filters:
        ends.append("no filter is known")
    for state in snapshot.filters:
        ends += _open_ends_of(state)
    return ends


def _open_ends_of(state: FilterState) -> list[str]:
    ends: list[str] = []
    if state.ready is None or state.ready < state.minimum:
        seen = "unknown" if state.ready is None else str(state.ready)
        ends.append(f"{state.name}: {seen} of {state.minimum} workers Ready")
    if state.metric != "ok":
        ends.append(f"{state.name}: no saturation, {state.metric}")
    if state.hpa not in {"ok", "at rest"}:
        ends.append(f"{state.name}: HPA without a metric, {state.hpa}")
    return ends


def hpa_state(conditions: Sequence[Mapping[str, str]] | None, *, minimum: int) -> str:
    """Return "ok", "at rest" or why an HPA cannot scale, from its status conditions.

    An HPA at zero replicas is switched off: right for a filter that scales to zero, and for others wrong.
    """
    for condition in conditions or ():
        if condition.get("type") == "ScalingActive":
            if condition.get("status") == "True":
                return "ok"
            if condition.get("reason") == "ScalingDisabled" and minimum == 0:
                return "at rest"
            return condition.get("message") or condition.get("reason") or "not active"
    return "no reading yet"
