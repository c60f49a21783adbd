"""A broker that comes back: what it does not show yet is unknown, and never zero."""

import asyncio
import json
from pathlib import Path

import pytest

from metrics_server import Config, FilterSpec, Sampler, sampler
from metrics_server.sources import Counts, ReadError, Table
from surge.policy.demand import WINDOWS_S
from surge.policy.history import RETURN_SHARE

UNUSED = Path("unused")
SAMPLE_S = 2.0
EMPTY, BUSY, WAITING = Counts(0, 0, 0), Counts(40, 3, 3), Counts(43, 0, 0)
AWAY = None


class EndError(Exception):
    pass


class Scripted:
    """Tells one set of counts at each read, or that it is away; its second hand is the test's."""

    name, url = "told", "http://told"

    def __init__(self, script: list[Counts | None]) -> None:
        self.script, self.now = list(script), 0.0

    def clock(self) -> float:
        return self.now

    async def read(self, *_: object) -> Table:
        self.now += SAMPLE_S
        if not self.script:
            raise EndError
        told = self.script.pop(0)
        if told is None:
            raise ReadError("connect", "nobody listens")
        return Table.of({b"filter.a": told})

    async def acknowledged(self, *_: object) -> None:
        return None


def served(monkeypatch, script: list[Counts | None]) -> list[tuple[int, int, int] | None]:
    """Ready, unacked and consumers as served after each read that was answered, None for a 503."""
    source = Scripted(script)
    monkeypatch.setattr(sampler, "sources", lambda _: [[source]])
    config = Config("127.0.0.1", 0, None, None, UNUSED, (), "surge", SAMPLE_S, 20, WINDOWS_S, UNUSED)
    ours = Sampler(config, source.clock)
    ours.use({"a": FilterSpec("a", "filter.a", 1, 8, 60, 1.06)})
    seen: list[tuple[int, int, int] | None] = []
    fold = ours.fold

    def folding(*counts: object, **at: float) -> None:
        fold(*counts, **at)
        row = ours.snapshot.fresh("a", source.now, 20)
        told = None if row is None else json.loads(row.answer(source.now))
        seen.append(None if told is None else (told["ready"], told["unacked"], told["consumers"]))

    monkeypatch.setattr(ours, "fold", folding)
    with pytest.raises(ExceptionGroup) as ended:
        asyncio.run(ours.run())
    assert ended.group_contains(EndError)
    return seen


def test_a_queue_that_held_messages_is_unknown_until_the_broker_shows_them_again(monkeypatch):
    script = [BUSY, AWAY, AWAY, EMPTY, EMPTY, WAITING, BUSY]
    assert served(monkeypatch, script) == [(40, 3, 3), None, None, (43, 0, 0), (40, 3, 3)]


def test_a_queue_that_was_empty_is_empty_again_at_once(monkeypatch):
    assert served(monkeypatch, [EMPTY, AWAY, EMPTY]) == [(0, 0, 0), (0, 0, 0)]


def test_workers_that_are_back_without_messages_prove_that_there_are_none(monkeypatch):
    idle = Counts(0, 0, 3)
    assert served(monkeypatch, [BUSY, AWAY, EMPTY, idle, EMPTY])[1:] == [None, (0, 0, 3), (0, 0, 0)]


def test_what_stays_empty_was_lost_and_is_served_as_that(monkeypatch):
    patience = int(RETURN_SHARE * WINDOWS_S[-1] / SAMPLE_S)
    seen = served(monkeypatch, [BUSY, AWAY, *[EMPTY] * (patience + 3)])
    assert seen[1:patience] == [None] * (patience - 1)
    assert seen[-1] == (0, 0, 0)


def test_without_an_outage_a_queue_may_run_empty(monkeypatch):
    assert served(monkeypatch, [BUSY, EMPTY]) == [(40, 3, 3), (0, 0, 0)]
