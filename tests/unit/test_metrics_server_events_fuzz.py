"""Whatever the event exchange sends: no event of an unknown shape is taken, and none ends the watch."""

from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics_server.events import KEYS, Events
from tests.unit.test_metrics_server_ledger import COUNTED, QUEUE, Told, lives

VHOST = "surge"
# Everything that an AMQP table can hold.
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.binary(max_size=20),
    st.decimals(allow_nan=True),
    st.just(datetime(2026, 11, 24, tzinfo=UTC)),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
ODD = st.text(max_size=20) | st.sampled_from([f"{QUEUE} ", QUEUE.upper(), f"{QUEUE}/é", "x" * 100_000])


def headers(event: Told) -> dict[str, Any]:
    return {
        "vhost": VHOST,
        "queue": QUEUE,
        "name": QUEUE,
        "channel": event.channel,
        "pid": event.channel,
        "consumer_tag": event.tag,
        "timestamp_in_ms": event.at_ms,
    }


NEEDED = {
    "consumer.created": ("vhost", "queue", "channel", "consumer_tag", "timestamp_in_ms"),
    "consumer.deleted": ("vhost", "queue", "channel", "consumer_tag", "timestamp_in_ms"),
    "channel.closed": ("pid", "timestamp_in_ms"),
    "queue.deleted": ("vhost", "name"),
}


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, Any]:
    """An event that lacks what it needs, or tells of something else."""
    key = draw(st.sampled_from(KEYS))
    told = headers(Told(draw(st.integers(-(10**30), 10**30)), *draw(st.sampled_from(COUNTED)), True))
    spoilt = draw(st.sampled_from(NEEDED[key]))
    how = draw(st.sampled_from(["missing", "other", "unknown key", "nothing"]))
    if how == "unknown key":
        return draw(ODD), told
    if how == "nothing":
        return key, None
    del told[spoilt]
    # Of an odd channel or tag there may be a consumer.
    if how == "other" and spoilt not in {"channel", "consumer_tag"}:
        told[spoilt] = draw(JUNK if spoilt == "timestamp_in_ms" else JUNK | ODD.filter(lambda name: name))
    return key, told


def tell(events: Events, key: str, told: Any) -> None:
    events._take(None, SimpleNamespace(routing_key=key), SimpleNamespace(headers=told), b"")


@given(lives(), st.lists(damaged(), max_size=20), st.data())
def test_damaged_events_change_no_number_among_right_ones(life, noise, data):
    right, there = life
    events = Events(VHOST, wanted=True)
    events.ledger.follow([QUEUE])
    events.ledger.resync(QUEUE, len(COUNTED))
    told = [("consumer.deleted" if each.left else "consumer.created", headers(each)) for each in right]
    for key, each in data.draw(st.permutations(told + noise)):
        tell(events, key, each)
    assert events.ledger.live(QUEUE) == there
    events.ledger.resync(QUEUE, there)
    assert events.ledger.drift == 0


@pytest.mark.parametrize("at", [float("inf"), float("nan"), Decimal("Infinity"), True, "12", None, b"12"])
def test_a_time_that_is_none_is_an_event_of_an_unknown_shape(at):
    events = Events(VHOST, wanted=True)
    events.ledger.follow([QUEUE])
    events.ledger.resync(QUEUE, 1)
    tell(events, "consumer.created", {**headers(Told(0, "c", "t", False)), "timestamp_in_ms": at})
    assert events.ledger.live(QUEUE) == 1


def test_a_tag_that_is_no_utf_8_comes_and_goes():
    events = Events(VHOST, wanted=True)
    events.ledger.follow([QUEUE])
    events.ledger.resync(QUEUE, 0)
    for key, count in (("consumer.created", 1), ("consumer.deleted", 0)):
        tell(events, key, {**headers(Told(1, "c", "t", False)), "consumer_tag": b"\xff"})
        assert events.ledger.live(QUEUE) == count
