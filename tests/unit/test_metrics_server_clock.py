"""Ages are of the monotonic clock: whatever the wall clock does, a filter is as old as it is."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from metrics_server import Config, FilterSpec, Sampler, sampler
from metrics_server.sources import Counts, Source, Table
from surge.policy.demand import WINDOWS_S

UNUSED = Path("unused")
# A day ahead, an hour back, before 1970.
WALL = (1.8e9, 1.8e9 + 86_400, 1.8e9 - 3_600, -5.0, 1.8e9)


class Told:
    """A source that always has the same counts; its second hand is the test's."""

    name, url = "told", "http://told"

    def __init__(self, clock: "Clock") -> None:
        self.clock = clock

    async def read(self, *_: object) -> Table:
        self.clock.now += 2.0
        if self.clock.now > 2 * len(WALL):
            raise EndError
        return Table.of({b"filter.a": Counts(0, 3, 5)})

    async def acknowledged(self, *_: object) -> None:
        return None


class EndError(Exception):
    pass


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall(monkeypatch) -> list[float]:
    ahead = [*WALL, 0.0]  # the last for the read that ends the test
    monkeypatch.setattr(sampler, "time", SimpleNamespace(time=lambda: ahead.pop(0)))
    return ahead


def test_a_wall_clock_that_jumps_changes_what_it_is_said_to_be_and_nothing_else(monkeypatch, wall):
    clock = Clock()
    told: list[list[Source]] = [[Told(clock)]]
    monkeypatch.setattr(sampler, "sources", lambda _: told)
    config = Config("127.0.0.1", 0, None, None, UNUSED, (), "surge", 2, 20, WINDOWS_S, UNUSED)
    ours = Sampler(config, clock)
    ours.use({"a": FilterSpec("a", "filter.a", 1, 8, 60, 1.06)})
    answers: list[dict[str, object]] = []
    fold = ours.fold

    def folding(*counts: object, **at: float) -> None:
        fold(*counts, **at)
        answers.append(json.loads(ours.snapshot.rows["a"].answer(clock.now)))

    monkeypatch.setattr(ours, "fold", folding)
    with pytest.raises(ExceptionGroup) as ended:
        asyncio.run(ours.run())
    assert ended.group_contains(EndError)
    assert [answer["sampled_at"] for answer in answers] == list(WALL)
    assert [answer["age_s"] for answer in answers] == [2.0] * len(WALL)
    assert [answer["window_s"] for answer in answers] == [0, 2, 4, 6, 8]
    assert wall == []
