"""Sets of pooled filters: one warm set of workers reads the queues of all its members."""

from collections.abc import Iterable, Sequence

from surge.model.filter import Filter, Gpu
from surge.model.problems import Path, shown
from surge.policy.topology import bell

__all__ = ["WorkerSet", "one_per_set", "service_of", "services", "worker_set_problems", "worker_sets"]

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


class WorkerSet(Filter):
    """The workers of a set, as one filter: its name is the set's, its queue the bell that they consume.

    Its times suit all members: the mean service_s, the longest job, the shortest drain_s and slo_s.
    """

    members: tuple[Filter, ...]

    @classmethod
    def of(cls, members: Sequence[Filter]) -> "WorkerSet":
        """members: of one set, which agree on what is the workers' own."""
        first = members[0]
        assert first.worker_set is not None  # noqa: S101 -- of a set
        return cls.model_construct(
            **{
                **dict(first),
                "name": first.worker_set,
                "queue": bell(first.worker_set),
                "service_s": sum(each.service_s for each in members) / len(members),
                "longest_job_s": max(each.longest_job_s for each in members),
                "drain_s": min(each.drain_s for each in members),
                "slo_s": min(each.slo_s for each in members),
                "members": tuple(members),
            }
        )


def worker_sets(filters: Iterable[Filter]) -> list[WorkerSet]:
    """Return the sets that the filters make, by name."""
    members: dict[str, list[Filter]] = {}
    for each in sorted(filters, key=lambda one: one.name):
        if each.worker_set is not None:
            members.setdefault(each.worker_set, []).append(each)
    return [WorkerSet.of(each) for _, each in sorted(members.items())]


def services(filters: Sequence[Filter]) -> list[Filter]:
    """Return what has workers of its own: the filters that are in no set, and the sets; by name."""
    alone = [each for each in filters if each.worker_set is None]
    return sorted([*alone, *worker_sets(filters)], key=lambda each: each.name)


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
    queues = {each.queue: each.name for each in filters}
    leaders = {each.worker_set: each for each in one_per_set(filters) if each.worker_set is not None}
    problems: list[tuple[Path, str]] = []
    for each in filters:
        if each.worker_set is None:
            continue
        if each.worker_set in names:
            text = f"{shown(each.worker_set)} is a filter too, and both name a Deployment: name one anew"
            problems.append((("filters", each.name, "worker-set"), text))
        if (other := queues.get(bell(each.worker_set))) is not None and each.worker_set not in names:
            text = f"the set's bell is {bell(each.worker_set)}, which is the queue of {other}: name one anew"
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
