"""From the engine's events to lines a person reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pulumi.automation import OpType
from pulumi.automation.events import EngineEvent, StepEventMetadata

from surge.cli.diagnostics import readable

__all__ = ["Line", "Steps", "label", "totals"]

VERBS = {
    OpType.CREATE: ("creating", "created"),
    OpType.UPDATE: ("updating", "updated"),
    OpType.DELETE: ("deleting", "deleted"),
    OpType.CREATE_REPLACEMENT: ("creating anew", "created anew"),
    OpType.DELETE_REPLACED: ("deleting the old", "deleted the old"),
    OpType.READ: ("reading", "read"),
    OpType.REFRESH: ("looking at", "changed outside"),
    OpType.IMPORT: ("importing", "imported"),
}
COUNTED = {"create": "created", "update": "updated", "delete": "deleted", "replace": "replaced"}


@dataclass(frozen=True)
class Line:
    """kind: done | plan | failed | error | warning | info | total."""

    kind: str
    text: str


@dataclass
class Steps:
    """The steps of one operation. Times are seconds since it began, given by the caller.

    running: what is under way, label -> (doing what, since when).
    """

    running: dict[str, tuple[str, float]] = field(default_factory=dict)
    finished: int = 0
    problems: list[str] = field(default_factory=list)
    changes: dict[str, int] = field(default_factory=dict)

    def take(self, event: EngineEvent, now_s: float) -> Line | None:
        """Return the line this event is worth, if any."""
        if (pre := event.resource_pre_event) is not None:
            return self._begin(pre.metadata, now_s, planning=bool(pre.planning))
        if (done := event.res_outputs_event) is not None:
            return self._end(done.metadata, now_s, planning=bool(done.planning))
        if (failed := event.res_op_failed_event) is not None:
            return self._fail(failed.metadata, now_s)
        if event.diagnostic_event is not None:
            return self._diagnostic(event)
        if (summary := event.summary_event) is not None:
            self.changes = {str(getattr(op, "value", op)): n for op, n in summary.resource_changes.items()}
        return None

    def _begin(self, step: StepEventMetadata, now_s: float, *, planning: bool) -> Line | None:
        if not _is_work(step):
            return None
        doing, _ = VERBS[_op(step)]
        if planning:
            # A preview of a refresh knows only at the end whether there is something to say.
            return (
                None
                if _op(step) == OpType.REFRESH
                else Line("plan", f"would be {VERBS[_op(step)][1]:<16} {label(step)}")
            )
        self.running[label(step)] = (doing, now_s)
        return None

    def _end(self, step: StepEventMetadata, now_s: float, *, planning: bool) -> Line | None:
        if not _is_work(step):
            return None
        _, since = self.running.pop(label(step), ("", now_s))
        if _op(step) == OpType.REFRESH:
            return Line("done", f"{VERBS[OpType.REFRESH][1]:<16} {label(step)}") if _drifted(step) else None
        if planning:
            return None
        self.finished += 1
        return Line("done", f"{VERBS[_op(step)][1]:<16} {label(step)}  {now_s - since:.1f} s")

    def _fail(self, step: StepEventMetadata, now_s: float) -> Line | None:
        doing, since = self.running.pop(label(step), (str(_op(step).value), now_s))
        return Line("failed", f"failed {doing} {label(step)}  {now_s - since:.1f} s")

    def _diagnostic(self, event: EngineEvent) -> Line | None:
        said = event.diagnostic_event
        # The SDK writes a dozen debug messages for every resource.
        if said is None or said.ephemeral or said.severity == "debug":
            return None
        text = readable(said.message)
        if not text or text in self.problems:
            return None
        if said.severity == "error":
            subject = _name_of(said.urn)
            full = f"{subject}: {text}" if subject else text
            if full in self.problems:
                return None
            self.problems.append(full)
            return Line("error", full)
        return Line("warning" if said.severity == "warning" else "info", text)


def label(step: StepEventMetadata) -> str:
    """`Deployment ghibli` for the URN of type kubernetes:apps/v1:Deployment and name ghibli."""
    kind = "Provider" if step.type.startswith("pulumi:providers:") else step.type.rpartition(":")[2]
    return f"{kind} {_name_of(step.urn)}"


def totals(changes: Mapping[str, int], elapsed_s: float) -> str:
    """`created 4, deleted 1, 60 unchanged, 12 s`."""
    parts = [f"{verb} {changes[op]}" for op, verb in COUNTED.items() if changes.get(op)]
    parts = parts or ["nothing to do"]
    if same := changes.get("same"):
        parts.append(f"{same} unchanged")
    return ", ".join([*parts, f"{elapsed_s:.0f} s"])


def _op(step: StepEventMetadata) -> OpType:
    return OpType(step.op)


def _is_work(step: StepEventMetadata) -> bool:
    """Components and the stack itself are names for groups: nothing is done for them."""
    state = step.new or step.old
    return _op(step) in VERBS and step.type != "pulumi:pulumi:Stack" and bool(state is None or state.custom)


def _drifted(step: StepEventMetadata) -> bool:
    return step.new is None or bool(step.diffs) or bool(step.detailed_diff)


def _name_of(urn: str | None) -> str:
    kind, _, name = (urn or "").rpartition("::")
    return "" if kind.endswith("pulumi:pulumi:Stack") else name
