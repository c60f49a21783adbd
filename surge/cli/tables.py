"""From state to rows of text; and rows to tables on a terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.table import Table

from surge.cli.state import FilterState, ProcessState, Snapshot, health, open_ends
from surge.model import Filter
from surge.policy.gpu import Fraction, Packing, Pair, Pool, Shape, Whole

__all__ = [
    "CATALOGUE_COLUMNS",
    "FILTER_COLUMNS",
    "POOL_COLUMNS",
    "PROCESS_COLUMNS",
    "as_json",
    "catalogue_rows",
    "filter_rows",
    "plain",
    "pool_rows",
    "process_rows",
    "shown_value",
    "table",
]

FILTER_COLUMNS = (
    "filter",
    "signal",
    "min/max",
    "desired",
    "Ready",
    "busy",
    "backlog",
    "ratio",
    "age",
    "state",
)
PROCESS_COLUMNS = ("process", "address", "pid", "state")
CATALOGUE_COLUMNS = (
    "filter",
    "class",
    "signal",
    "min/max",
    "slots",
    "GPUs",
    "service",
    "warm-up",
    "priority",
    "runs in",
    "owner",
)
POOL_COLUMNS = (
    "pool",
    "cards",
    "used at min",
    "at max",
    "MiB stranded at min",
    "at max",
    "workers without a place at max",
)
UNKNOWN = "?"


def filter_rows(filters: Sequence[FilterState]) -> list[tuple[str, ...]]:
    return [
        (
            state.name,
            state.signal,
            f"{state.minimum}/{state.maximum}",
            _whole(state.desired),
            _whole(state.ready),
            _whole(state.busy),
            _whole(state.backlog),
            UNKNOWN if state.ratio is None else f"{state.ratio:.2f}",
            UNKNOWN if state.age_s is None else f"{state.age_s:.1f} s",
            _word(state),
        )
        for state in filters
    ]


def process_rows(processes: Sequence[ProcessState]) -> list[tuple[str, ...]]:
    return [
        (
            process.name,
            ", ".join(f"127.0.0.1:{port}" for port in process.ports) or "-",
            str(process.pid or "-"),
            process.state.lower(),
        )
        for process in processes
    ]


def catalogue_rows(filters: Sequence[Filter]) -> list[tuple[str, ...]]:
    return [
        (
            item.name,
            item.service_class if item.worker_set is None else f"{item.service_class} {item.worker_set}",
            item.signal if item.target is None else f"{item.signal} {item.target}",
            f"{item.min}/{item.max}",
            str(item.slots),
            _gpus(item.shape),
            f"{item.service_s:g} s",
            f"{item.warmup_s:g} s",
            item.priority,
            ", ".join(item.runs_in),
            item.owner,
        )
        for item in filters
    ]


def pool_rows(packings: Mapping[Pool, tuple[Packing, Packing]]) -> list[tuple[str, ...]]:
    """packings: of all filters at min and at max."""
    return [
        (
            pool.name,
            str(pool.nodes * pool.cards_per_node),
            str(least.cards_used),
            str(most.cards_used),
            str(least.stranded_mib),
            str(most.stranded_mib),
            str(sum(most.unplaced.values())),
        )
        for pool, (least, most) in packings.items()
    ]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> Table:
    """A table for a terminal; what cannot be well is red."""
    drawn = Table(*columns, title=title, box=None, pad_edge=False, title_justify="left", header_style="bold")
    for row in rows:
        drawn.add_row(*row, style=None if row[-1] in _WELL or columns[-1] != "state" else "red")
    return drawn


def plain(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same as lines of aligned text, for pipes and logs."""
    lines = [tuple(columns), *map(tuple, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def shown_value(value: object) -> str:
    """A value of the catalogue as its file would say it on one line."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {shown_value(each)}' for key, each in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown_value, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def as_json(snapshot: Snapshot) -> Mapping[str, object]:
    """The snapshot as it goes to machines: numbers as they are, null for what is not known."""
    return {
        "health": ("healthy", "degraded", "not running")[health(snapshot)],
        "open_ends": open_ends(snapshot),
        "filters": {state.name: asdict(state) for state in snapshot.filters},
        "processes": {
            process.name: {**asdict(process), "ports": list(process.ports)} for process in snapshot.processes
        },
    }


_WELL = frozenset({"ok", "at rest", "running", "done", "current"})


def _gpus(shape: Shape) -> str:
    match shape:
        case Whole(cards):
            return str(cards)
        case Fraction(share):
            return f"{share.memory_mib} MiB"
        case Pair():
            return f"pair, {shape.route}"


def _whole(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0f}"


def _word(state: FilterState) -> str:
    if state.metric != "ok":
        return "no metric"
    if state.hpa not in {"ok", "at rest"}:
        return "HPA waits"
    if state.ready is None or state.ready < state.minimum:
        return "below min"
    return state.hpa
