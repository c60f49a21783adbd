"""Filters that nobody wrote: whatever the catalogue's own check lets pass, to its bounds."""

from typing import Any

from hypothesis import strategies as some

from surge.model import Filter
from surge.model.base import problems_of
from surge.model.capacity import pool_of
from surge.model.filter import RULES
from surge.policy.jobs import runs_as_jobs
from tests.engine.fleet_program import settings

__all__ = ["IMAGE", "catalogues", "filters"]

POOLS = settings().cluster.gpu_pools
IMAGE = f"registry.example/style@sha256:{'0' * 64}"
DIGITS = "abcdefghijklmnopqrstuvwxyz0123456789"
NAMES = some.builds(
    "{}{}{}".format,
    some.sampled_from(DIGITS),
    some.text(DIGITS + "-", max_size=48),
    some.sampled_from(DIGITS),
)
SECONDS = some.floats(0.001, 31_536_000, allow_nan=False)
PART: dict[str, some.SearchStrategy[Any]] = {
    "memory-mib": some.integers(1, 40_000),
    "cores": some.integers(1, 50),
}
TRAINER = some.fixed_dictionaries({"image": some.just(IMAGE), **PART})
GPUS = some.one_of(
    some.none(),
    some.fixed_dictionaries(PART),
    some.fixed_dictionaries({**PART, "trainer": TRAINER}),
)

MODELS = some.sampled_from([None, "nas://models/a/b@v3", "nas://theirs/c", "s3://bucket.of.models/a=b+c"])


@some.composite
def filters(draw: some.DrawFn) -> Filter:
    """One filter that `check` takes, on a cluster with a pool of every kind."""
    kind = draw(some.sampled_from(["interactive", "batch", "scale-to-zero"]))
    signal = draw(some.sampled_from(["demand", "ratio"] if kind != "batch" else ["demand"]))
    mean = draw(SECONDS)
    longest = draw(some.floats(mean, 31_536_000))
    rests = kind == "scale-to-zero" or runs_as_jobs(kind, longest)
    least = 0 if rests else draw(some.integers(1, 100_000))
    entry = {
        "name": draw(NAMES),
        "image": IMAGE,
        "class": kind,
        "slots": draw(some.integers(1, 64)),
        "service-s": mean,
        "warmup-s": draw(some.floats(0.001, 100_000)),
        "gpu": draw(GPUS),
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
    if made.gpu is not None and pool_of(made, POOLS)[1]:
        return made.model_copy(update={"gpu": None})
    return made


def catalogues() -> some.SearchStrategy[list[Filter]]:
    return some.lists(filters(), min_size=1, max_size=8, unique_by=lambda each: each.name)
