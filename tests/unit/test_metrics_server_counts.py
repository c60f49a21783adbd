"""When the count of a passive declare is believed beside events that are told late."""

from unittest.mock import Mock

import pytest

from metrics_server import events
from metrics_server.events import SETTLE_S, STALL_S, Count, Events
from tests.unit.test_metrics_server_events_fuzz import headers, tell
from tests.unit.test_metrics_server_ledger import Told

QUEUE = "filter.a"


class Clock:
    now = 1000.0


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(events.time, "monotonic", lambda: clock.now)
    return clock


@pytest.fixture
def listening(clock) -> Events:
    listening = Events("surge", wanted=True)
    listening.attach(Mock(), [QUEUE])
    return listening


def count(
    over: Events, clock: Clock, consumers: int, *, tries: int = 1, doubts: int = 1, waits_s: float = 0.0
) -> Count:
    def declare(*_: str, **__: bool) -> Mock:
        clock.now += waits_s
        return Mock(method=Mock(consumer_count=consumers))

    moves, asked = over.ledger.moves(QUEUE), clock.now
    assert over.count(Mock(queue_declare=declare), "a", QUEUE, tries=tries, doubts=doubts) == consumers
    return Count(asked, "a", QUEUE, moves, consumers, tries, doubts)


def settled(over: Events, clock: Clock, seconds: float = SETTLE_S) -> list[Count]:
    """What has to be counted again once so much time has passed."""
    clock.now += seconds
    over.catch_up(Mock())
    return list(over.settle())


def test_a_count_is_believed_once_it_has_settled(listening, clock):
    count(listening, clock, 3)
    assert settled(listening, clock, SETTLE_S / 2) == []
    assert listening.ledger.live(QUEUE) is None
    assert settled(listening, clock, SETTLE_S / 2) == []
    assert listening.ledger.live(QUEUE) == 3


def test_who_left_before_the_count_and_is_told_of_after_it_is_not_taken_off_twice(listening, clock):
    first = count(listening, clock, 1)
    clock.now += SETTLE_S / 2
    listening.ledger.deleted(QUEUE, "channel", "gone before", 1)
    assert settled(listening, clock, SETTLE_S / 2) == [first._replace(tries=0)]
    assert listening.ledger.live(QUEUE) is None
    count(listening, clock, 1)
    assert settled(listening, clock) == []
    assert listening.ledger.live(QUEUE) == 1


@pytest.mark.parametrize("live", [None, 2])
def test_a_quorum_queue_that_is_too_busy_to_answer_has_not_lost_its_consumers(listening, clock, live):
    if live is not None:
        listening.ledger.resync(QUEUE, live)
    timed_out = count(listening, clock, 0)
    assert settled(listening, clock) == [timed_out._replace(doubts=0)]
    assert listening.ledger.live(QUEUE) == live
    count(listening, clock, 2)
    assert settled(listening, clock) == []
    assert listening.ledger.live(QUEUE) == 2


@pytest.mark.parametrize("live", [None, 2])
def test_a_leader_that_never_answers_in_time_has_not_said_that_all_are_gone(listening, clock, live):
    if live is not None:
        listening.ledger.resync(QUEUE, live)
    timed_out = count(listening, clock, 0, waits_s=0.25)
    assert settled(listening, clock) == [timed_out._replace(consumers=None, doubts=0)]
    count(listening, clock, 0, doubts=0, waits_s=0.25)
    assert settled(listening, clock) == []
    assert listening.ledger.live(QUEUE) == live


def test_who_is_gone_at_each_try_is_gone(listening, clock):
    listening.ledger.resync(QUEUE, 2)
    count(listening, clock, 0, doubts=0)
    assert settled(listening, clock) == []
    assert listening.ledger.live(QUEUE) == 0


def test_an_event_that_meets_the_last_doubt_has_it_counted_again(listening, clock):
    listening.ledger.resync(QUEUE, 1)
    doubted = count(listening, clock, 0, doubts=0)
    listening.ledger.created(QUEUE, "channel", "new", 1)
    assert settled(listening, clock) == [doubted._replace(tries=0)]
    count(listening, clock, 1, tries=0, doubts=0)
    assert settled(listening, clock) == []
    assert listening.ledger.live(QUEUE) == 1


def test_a_queue_that_never_rests_is_left_to_its_events_until_the_next_round(listening, clock):
    listening.ledger.resync(QUEUE, 5)
    count(listening, clock, 6, tries=0)
    listening.ledger.created(QUEUE, "channel", "new", 1)
    assert settled(listening, clock) == []
    assert listening.ledger.live(QUEUE) == 6
    assert listening.ledger.drift == 0


@pytest.mark.parametrize("lose", ["the queue", "the connection"])
def test_a_count_of_what_is_gone_meanwhile_is_never_believed(listening, clock, lose):
    count(listening, clock, 3)
    if lose == "the queue":
        listening.ledger.forget(QUEUE)
    else:
        listening.detach()
        listening.attach(Mock(), [QUEUE])
    settled(listening, clock)
    assert listening.ledger.live(QUEUE) is None


def behind(over: Events, clock: Clock, *queues: str, call_s: float) -> Mock:
    """Return a connection on which an arrival at each of these queues waits, and one call hands over one."""
    arrivals = iter(queues)

    def hand_over(_: float) -> None:
        clock.now += call_s
        if (queue := next(arrivals, None)) is not None:
            tell(over, "consumer.created", headers(Told(1, "c", "t", left=False)) | {"queue": queue})

    return Mock(process_data_events=Mock(side_effect=hand_over))


@pytest.mark.parametrize("call_s", [0, SETTLE_S])
def test_no_count_is_believed_by_a_reader_that_is_behind(listening, clock, call_s):
    counted = count(listening, clock, 1)
    clock.now += SETTLE_S
    connection = behind(listening, clock, "filter.other", QUEUE, call_s=call_s)
    for _ in range(2):
        listening.catch_up(connection)
        assert list(listening.settle()) == []
        assert listening.ledger.live(QUEUE) is None
    listening.catch_up(connection)
    assert list(listening.settle()) == [counted._replace(tries=0)]


def test_time_that_passes_while_others_are_counted_again_is_none_in_which_events_were_taken(listening, clock):
    first, second = count(listening, clock, 0), count(listening, clock, 2)
    clock.now += SETTLE_S
    listening.catch_up(Mock())
    again = listening.settle()
    assert next(again) == first._replace(doubts=0)
    count(listening, clock, 3)
    clock.now += SETTLE_S
    assert list(again) == []
    assert listening.ledger.live(QUEUE) == second.consumers
    listening.catch_up(Mock())
    assert list(listening.settle()) == []
    assert listening.ledger.live(QUEUE) == 3


def test_a_broker_that_keeps_a_declare_waiting_has_told_nothing_meanwhile(listening, clock):
    waiting = count(listening, clock, 1)
    count(listening, clock, 2, waits_s=SETTLE_S)
    assert settled(listening, clock, STALL_S) == []
    listening.ledger.created(QUEUE, "channel", "in the count", 1)
    assert settled(listening, clock)[0] == waiting._replace(tries=0)


def test_the_time_of_a_prompt_answer_counts(listening, clock):
    count(listening, clock, 1)
    clock.now += SETTLE_S - STALL_S / 2
    count(listening, clock, 2, waits_s=STALL_S / 2)
    assert settled(listening, clock, 0.001) == []
    assert listening.ledger.live(QUEUE) == 1


def test_without_events_nothing_waits(clock):
    alone = Events("surge", wanted=False)
    alone.attach(Mock(), [QUEUE])
    count(alone, clock, 3)
    assert settled(alone, clock) == []
    assert alone.ledger.live(QUEUE) is None
