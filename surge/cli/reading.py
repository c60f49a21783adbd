"""One reading of a running stack: broker figures, workers, HPAs and processes, put side by side."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from surge.cli.kubernetes_client import KubernetesClient, NoAnswerError, Workers
from surge.cli.processes import process_states
from surge.cli.saturation_client import Answer, SaturationClient
from surge.cli.state import FilterState, ProcessState, Snapshot, hpa_state
from surge.stack_outputs import RunningStack

__all__ = ["Reader", "filter_states"]


class Reader:
    """Reads a running stack again and again over the same connections."""

    def __init__(self, stack: RunningStack) -> None:
        self._stack = stack
        self._kubernetes = KubernetesClient(stack.kubeconfig)
        self._saturation = SaturationClient(
            stack.endpoints["saturation"], stack.access["saturation_ca"], stack.access["saturation_token"]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kubernetes.__exit__(kind, error, trace)
        self._saturation.__exit__(kind, error, trace)

    def read(self) -> Snapshot:
        problems: list[str] = []
        workers: Mapping[str, Workers] = {}
        try:
            workers = self._kubernetes.workers()
        except NoAnswerError as error:
            problems.append(str(error))
        answers = self._saturation.read(sorted(self._stack.filters))
        processes, missing = self._processes()
        return Snapshot(
            filters=filter_states(self._stack.filters, workers, answers),
            processes=processes,
            problems=[*problems, *missing],
        )

    def _processes(self) -> tuple[Sequence[ProcessState], list[str]]:
        return process_states(self._stack.directory)


def filter_states(
    filters: Mapping[str, Mapping[str, Any]], workers: Mapping[str, Workers], answers: Mapping[str, Answer]
) -> list[FilterState]:
    """Put what three sources know of each filter side by side, sorted by name."""
    states: list[FilterState] = []
    for name in sorted(filters):
        summary = filters[name]
        minimum = int(summary["min"])
        runs_as_jobs = bool(summary.get("runs_as_jobs"))
        # A pooled filter has no workers of its own: those of its set serve it.
        home = str(summary.get("worker_set", name))
        # Without a single Job there is nothing to read: none is wanted, and none is there.
        seen = workers.get(home, Workers(desired=0, ready=0) if runs_as_jobs else Workers())
        answer, at_home = (answers.get(each, Answer(0, {}, "not asked")) for each in (name, home))
        states.append(
            FilterState(
                name=name,
                signal=str(summary["signal"]) if home == name else f"set {home}",
                minimum=minimum,
                maximum=int(summary["max"]),
                desired=seen.desired,
                ready=seen.ready,
                busy=answer.values.get("unacked"),
                backlog=answer.values.get("ready"),
                ratio=at_home.values.get("active_ratio"),
                age_s=answer.values.get("age_s"),
                metric=answer.state,
                hpa=_jobs_state(seen) if runs_as_jobs else hpa_state(seen.conditions, minimum=minimum),
            )
        )
    return states


def _jobs_state(seen: Workers) -> str:
    """No HPA sizes Jobs; KEDA makes them, and they end by themselves."""
    return "ok" if seen.desired else "at rest"
