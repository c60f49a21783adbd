"""Filters that nobody wrote: whatever the catalogue's own check lets pass, to its bounds."""

from typing import Any

from hypothesis import assume
from hypothesis import strategies as some

from surge.model import Filter
from surge.model.base import problems_of
from surge.model.capacity import pool_of
from surge.model.filter import RULES
from surge.model.worker_sets import OF_THE_SET, worker_set_problems
from surge.policy.jobs import runs_as_jobs
from tests.engine.fleet_program import settings

__all__ = ["IMAGE", "STACK", "catalogues", "filters"]

IMAGE = f"registry.example/style@sha256:{'0' * 64}"
# A stack that says all that a worker's pod can be told.
STACK = settings(
    workers={
        "runtime-class": "nvidia",
        "pull-secrets": ["ours"],
        "shared-claim": "checkpoints",
        "models": {
            "shares": {
                "models": {"server": "nas.example", "path": "/export"},
                "theirs": {"claim": "theirs", "cached": True},
            },
            "puller": {"image": IMAGE, "secret": "bucket"},
            "cache": "/var/lib/surge/models",
        },
    }
)
DIGITS = "abcdefghijklmnopqrstuvwxyz0123456789"
NAMES = some.builds(
    "{}{}{}".format,
    some.sampled_from(DIGITS),
    some.text(DIGITS + "-", max_size=48),
    some.sampled_from(DIGITS),
)
SECONDS = some.floats(0.001, 31_536_000, allow_nan=False)
MODELS = some.sampled_from([None, "nas://models/a/b@v3", "nas://theirs/c", "s3://bucket.of.models/a=b+c"])
ALONE = ("interactive", "batch", "scale-to-zero")


def part(mib: int, cores: int) -> some.SearchStrategy[dict[str, Any]]:
    return some.fixed_dictionaries({"memory-mib": some.integers(1, mib), "cores": some.integers(1, cores)})


def pair(worker: dict[str, Any], trainer: dict[str, Any]) -> dict[str, Any]:
    return {"gpu": {**worker, "trainer": {"image": IMAGE, **trainer}}}


# A card of the stack has 81,920 MiB, and one of its pool of pairs holds two of them.
SHAPES = some.one_of(
    some.fixed_dictionaries({"gpus": some.integers(1, 8)}),
    some.fixed_dictionaries({"gpus": some.integers(1, 8), "gpu": some.just({"pool": "shared"})}),
    part(81_920, 99).map(lambda worker: {"gpu": worker}),
    part(81_920, 99).map(lambda both: pair(both, {**both, "runs": "first"})),
    some.builds(pair, part(20_480, 25), part(20_480, 25)),
)


@some.composite
def filters(draw: some.DrawFn, kinds: tuple[str, ...] = ALONE) -> Filter:
    """One filter that `check` takes, on a cluster with a pool of every kind."""
    kind = draw(some.sampled_from(kinds))
    demand_only = kind in {"batch", "pooled"}
    signal = draw(some.sampled_from(["demand"] if demand_only else ["demand", "ratio"]))
    mean = draw(SECONDS)
    longest = draw(some.floats(mean, 31_536_000))
    rests = kind == "scale-to-zero" or runs_as_jobs(kind, longest)
    least = 0 if rests else draw(some.integers(1, 100_000))
    entry = {
        "name": draw(NAMES),
        "image": IMAGE,
        "class": kind,
        "worker-set": draw(NAMES) if kind == "pooled" else None,
        "slots": draw(some.integers(1, 64)),
        "service-s": mean,
        "warmup-s": draw(some.floats(0.001, 100_000)),
        **draw(SHAPES),
        "priority": draw(some.sampled_from(["high", "normal", "low"])),
        "model": draw(MODELS),
        "min": least,
        "max": draw(some.integers(max(1, least), 100_000)),
        "signal": signal,
        "target": draw(some.floats(0.1, 0.95)) if signal == "ratio" else None,
        "slo-s": 31_536_000.0,
        "longest-job-s": longest,
        "owner": "me",
    }
    entry["queue"] = f"filter.{entry['name']}"
    assert problems_of(Filter, entry, RULES) == []
    made = Filter.model_validate(entry)
    assert pool_of(made, STACK.cluster.gpu_pools)[1] == []
    return made


@some.composite
def worker_sets(draw: some.DrawFn) -> list[Filter]:
    """The members of one set: alike in what is the workers' own."""
    first, *others = draw(some.lists(filters(("pooled",)), min_size=1, max_size=4))
    own = {key: getattr(first, key) for key in ("worker_set", *OF_THE_SET)}
    return [first, *(each.model_copy(update=own) for each in others)]


@some.composite
def catalogues(draw: some.DrawFn) -> list[Filter]:
    drawn = draw(
        some.lists(some.one_of(filters().map(lambda each: [each]), worker_sets()), min_size=1, max_size=8)
    )
    named = {each.name: each for group in drawn for each in group}
    assume(worker_set_problems(list(named.values())) == [])
    return list(named.values())
