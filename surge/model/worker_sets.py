"""Sets of pooled filters: one warm set of workers reads the queues of all its members."""

from collections.abc import Iterable, Sequence

from surge.model.filter import Filter, Gpu
from surge.model.problems import Path, shown

__all__ = ["one_per_set", "service_of", "worker_set_problems"]

# What is the workers' own, so that all members must say the same.
OF_THE_SET = (
    "image",
    "model",
    "gpus",
    "gpu",
    "slots",
    "warmup_s",
    "min",
    "max",
    "priority",
    "runs_in",
)


def service_of(item: Filter) -> str:
    """Return the name of the workers that serve a filter: its set's, else its own."""
    return item.worker_set or item.name


def one_per_set(filters: Iterable[Filter]) -> list[Filter]:
    """Return the filters by name, of each worker set the first member alone: it stands for its workers."""
    kept: dict[tuple[str, str], Filter] = {}
    for each in sorted(filters, key=lambda one: one.name):
        key = ("filter", each.name) if each.worker_set is None else ("set", each.worker_set)
        kept.setdefault(key, each)
    return list(kept.values())


def worker_set_problems(filters: Sequence[Filter]) -> list[tuple[Path, str]]:
    """Return (path in the catalogue, where a member differs from the first of its set)."""
    names = {each.name for each in filters}
    leaders = {each.worker_set: each for each in one_per_set(filters) if each.worker_set is not None}
    problems: list[tuple[Path, str]] = []
    for each in filters:
        if each.worker_set is None:
            continue
        if each.worker_set in names:
            text = f"{shown(each.worker_set)} is a filter too, and both name a Deployment: name one anew"
            problems.append((("filters", each.name, "worker-set"), text))
        leader = leaders[each.worker_set]
        problems += [(("filters", each.name, key), text) for key, text in _differences(each, leader)]
    return problems


def _differences(member: Filter, leader: Filter) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for field in OF_THE_SET:
        mine, theirs = getattr(member, field), getattr(leader, field)
        if mine != theirs:
            key = Filter.model_fields[field].alias or field
            text = (
                f"{_value(mine)}, but {leader.name} says {_value(theirs)}, and one set of workers, "
                f"{member.worker_set}, serves both: want the same in all its filters"
            )
            found.append((key, text))
    return found


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return " and ".join(map(str, value))
    if isinstance(value, Gpu):
        return ", ".join(
            f"{key} {shown(each)}" for key, each in value.model_dump(by_alias=True).items() if each
        )
    return f"{value:g}" if isinstance(value, float) else shown(value)
