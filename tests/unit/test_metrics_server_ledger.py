"""Events may come twice, late, in any order or never: the ledger is right, or right again after a resync."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics_server.ledger import ConsumerLedger

QUEUE = "filter.a"
COUNTED = [("channel-0", f"counted-{number}") for number in range(3)]


class Told(NamedTuple):
    """One event, as the broker sends it."""

    at_ms: int
    channel: str
    tag: str
    left: bool


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[Told], int]:
    """Joins and leaves, of consumers the first count knew too, and how many are there in the end."""
    here, told = list(COUNTED), []
    for at_ms in range(draw(st.integers(0, 25))):
        if here and draw(st.booleans()):
            consumer, left = here.pop(draw(st.integers(0, len(here) - 1))), True
        else:
            # A tag is used again once it is free, as clients do.
            taken = [("channel-1", f"tag-{number}") for number in range(4)]
            free = [each for each in taken if each not in here]
            consumer, left = draw(st.sampled_from(free or [("channel-2", f"tag-{at_ms}")])), False
            here.append(consumer)
        told.append(Told(at_ms, *consumer, left))
    return told, len(here)


def seeded(count: int = len(COUNTED)) -> ConsumerLedger:
    ledger = ConsumerLedger()
    ledger.follow([QUEUE])
    ledger.resync(QUEUE, count)
    return ledger


def tell(ledger: ConsumerLedger, events: list[Told]) -> None:
    for event in events:
        take = ledger.deleted if event.left else ledger.created
        take(QUEUE, event.channel, event.tag, event.at_ms)
        assert (ledger.live(QUEUE) or 0) >= 0


@given(lives(), st.data())
def test_order_and_repetition_change_nothing(life, data):
    told, there = life
    ledger = seeded()
    again = data.draw(st.lists(st.sampled_from(told), max_size=9)) if told else []
    tell(ledger, data.draw(st.permutations(told + again)))
    assert ledger.live(QUEUE) == there
    ledger.resync(QUEUE, there)
    assert ledger.drift == 0


@given(lives(), lives(), st.data())
def test_whatever_was_lost_the_next_resync_is_the_truth_and_says_by_how_much(life, later, data):
    told, there = life
    ledger = seeded()
    tell(ledger, [event for event in told if data.draw(st.booleans())])
    wrong = ledger.live(QUEUE)
    ledger.resync(QUEUE, there)
    assert ledger.live(QUEUE) == there
    assert ledger.drift == abs(there - wrong)
    tell(ledger, [event for event in told if event.left])
    assert ledger.live(QUEUE) <= there
    tell(ledger, later[0])
    ledger.resync(QUEUE, 7)
    assert ledger.live(QUEUE) == 7


@given(lives(), st.data())
def test_a_resync_in_the_middle_loses_nothing(life, data):
    told, there = life
    at = data.draw(st.integers(0, len(told)))
    ledger = seeded()
    tell(ledger, told[:at])
    ledger.resync(QUEUE, ledger.live(QUEUE))
    tell(ledger, [*told[max(0, at - 1) : at], *told[at:]])
    assert ledger.live(QUEUE) == there
    assert ledger.drift == 0


def test_a_queue_is_unknown_until_it_is_counted():
    ledger = ConsumerLedger()
    ledger.created(QUEUE, "c", "t", 1)
    assert ledger.live(QUEUE) is None
    ledger.follow([QUEUE])
    ledger.created(QUEUE, "c", "t", 2)
    assert ledger.live(QUEUE) is None
    ledger.resync(QUEUE, 1)
    ledger.created(QUEUE, "c", "t", 2)
    assert ledger.live(QUEUE) == 1


def forget(ledger: ConsumerLedger) -> None:
    ledger.forget(QUEUE)


def forget_all(ledger: ConsumerLedger) -> None:
    ledger.forget_all()


def follow_others(ledger: ConsumerLedger) -> None:
    ledger.follow(["filter.b"])


@pytest.mark.parametrize("lose", [forget, forget_all, follow_others])
def test_what_is_forgotten_is_unknown(lose: Callable[[ConsumerLedger], None]):
    ledger = seeded()
    lose(ledger)
    ledger.deleted(QUEUE, *COUNTED[0], 1)
    assert ledger.live(QUEUE) is None


def test_a_closed_channel_takes_its_consumers_along_once():
    ledger = seeded(1)
    for tag in ("a", "b"):
        ledger.created(QUEUE, "c", tag, 1)
    ledger.deleted(QUEUE, "c", "b", 2)
    ledger.resync(QUEUE, 2)
    ledger.channel_closed("c", 3)
    ledger.deleted(QUEUE, "c", "a", 3)
    assert ledger.live(QUEUE) == 1


def test_a_deleted_queue_has_none_and_one_of_its_name_begins_with_none():
    ledger = seeded()
    ledger.queue_deleted(QUEUE)
    ledger.created(QUEUE, "c", "t", 9)
    assert ledger.live(QUEUE) == 1


@given(st.permutations([*(("left", each) for each in COUNTED), ("came", ("c", "t")), ("came", ("c", "u"))]))
def test_who_leaves_a_deleted_queue_late_is_not_taken_off_the_new_one(order):
    ledger = seeded()
    ledger.queue_deleted(QUEUE)
    for number, (what, consumer) in enumerate(order):
        take = ledger.created if what == "came" else ledger.deleted
        take(QUEUE, *consumer, number)
    assert ledger.live(QUEUE) == 2
    ledger.deleted(QUEUE, "c", "t", 99)
    assert ledger.live(QUEUE) == 1
    ledger.resync(QUEUE, 1)
    assert ledger.drift == 0


def test_consumers_that_left_untold_are_not_kept_for_ever():
    ledger = seeded(0)
    for number in range(100):
        ledger.created(QUEUE, "c", f"{number}", number)
    ledger.resync(QUEUE, 0)
    ledger.channel_closed("c", 200)
    assert ledger.live(QUEUE) == 0
