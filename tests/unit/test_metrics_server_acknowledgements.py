from math import isnan

import pytest
from hypothesis import given
from hypothesis.strategies import (
    DrawFn,
    binary,
    characters,
    composite,
    dictionaries,
    integers,
    lists,
    randoms,
    text,
    tuples,
)

from metrics_server.sources.acknowledgements import acknowledged, acknowledged_pattern
from surge.policy.service_time import ServiceTime, acked_since

PATTERN = acknowledged_pattern("surge")
counters = integers(0, 10**15 - 1)
names = text("abcdefghijklmnopqrstuvwxyz0123456789-.", min_size=1, max_size=30)
channels = tuples(integers(0, 99), integers(0, 10**6)).map(lambda pid: f"<0.{pid[1]}.{pid[0]}>")


def by_channel(channel: str, queue: str, count: int | str, vhost: str = "surge") -> str:
    labels = f'channel="{channel}",vhost="{vhost}",queue="{queue}"'
    return f"rabbitmq_detailed_channel_messages_acked_total{{{labels}}} {count}\n"


def by_queue(queue: str, count: int) -> str:
    return f'rabbitmq_detailed_queue_messages_acked_total{{vhost="surge",queue="{queue}"}} {count}\n'


def seen(*rows: str) -> dict[bytes, dict[bytes, float]]:
    return acknowledged("".join(rows).encode(), PATTERN)


def test_counters_of_a_queue_are_told_by_channel():
    rows = [by_channel("<0.1.0>", "a", 3), by_channel("<0.2.0>", "a", 4), by_channel("<0.1.0>", "b", 5)]
    assert seen(*rows) == {b"a": {b"<0.1.0>": 3, b"<0.2.0>": 4}, b"b": {b"<0.1.0>": 5}}


def test_where_the_broker_counts_per_queue_channels_are_not_counted_again():
    assert seen(by_channel("<0.1.0>", "a", 3), by_queue("a", 30)) == {b"a": {b"": 30}}


@pytest.mark.parametrize(
    "row",
    [
        by_channel("<0.1.0>", "a", 3, vhost="other"),
        by_channel("<0.1.0>", 'a",queue="b', 3),
        by_channel("<0.1.0>", "a\\", 3),
        by_channel("<0.1.0>", "a", "NaN"),
        by_channel("<0.1.0>", "a", -1),
        by_channel("<0.1.0>", "a", 12).rstrip("\n"),
        by_channel("<0.1.0>", "a", 3).replace("acked", "delivered"),
    ],
    ids=["vhost", "forged", "backslash", "no number", "negative", "truncated", "another counter"],
)
def test_a_row_that_is_not_understood_is_left_out(row):
    assert seen(row) == {}


@composite
def truths(draw: DrawFn) -> dict[str, dict[str, int]]:
    """Counters by queue, and within by channel; the channel "" is the queue's own."""
    by_channels = dictionaries(channels, counters, min_size=1, max_size=3)
    return draw(dictionaries(names, by_channels | counters.map(lambda count: {"": count}), max_size=6))


def rows(queue: str, told: dict[str, int]) -> list[str]:
    return [
        by_channel(channel, queue, count) if channel else by_queue(queue, count)
        for channel, count in told.items()
    ]


def encoded(truth: dict[str, dict[str, int]]) -> dict[bytes, dict[bytes, int]]:
    return {
        queue.encode(): {channel.encode(): count for channel, count in told.items()}
        for queue, told in truth.items()
    }


@given(truths(), randoms())
def test_every_counter_is_read_in_whatever_order_the_lines_come(truth, random):
    lines = [line for queue, told in truth.items() for line in rows(queue, told)]
    random.shuffle(lines)
    assert seen("# TYPE a counter\n", *lines, "rabbitmq_build_info{} 1\n") == encoded(truth)


@given(truths(), integers(0, 2_000))
def test_a_truncated_body_loses_counters_but_never_changes_one(truth, length):
    whole = "".join(line for queue, told in truth.items() for line in rows(queue, told))
    for queue, told in seen(whole[:length]).items():
        assert told.items() <= encoded(truth)[queue].items()


odd = text(characters(blacklist_categories=["Cs"]), max_size=30)


@given(lists(tuples(odd, odd, counters), max_size=6))
def test_no_name_without_a_line_break_touches_the_queue_beside_it(others):
    lines = [
        by_channel(channel, queue, count)
        for channel, queue, count in others
        if "\n" not in channel + queue and queue != "a"
    ]
    assert seen(*lines, by_channel("<0.1.0>", "a", 3))[b"a"] == {b"<0.1.0>": 3}


@given(names, channels, counters, counters)
def test_of_rows_that_contradict_each_other_nothing_is_learnt(queue, channel, count, forged):
    read = seen(by_channel(channel, queue, count), by_channel(channel, queue, forged))
    [told] = read[queue.encode()].values()
    assert told == count if count == forged else isnan(told)
    right = {channel.encode(): float(count)}
    for before, now in ((right, read[queue.encode()]), (read[queue.encode()], right)):
        learner = ServiceTime(8.0)
        learner.append(0.0, 0.0, 0.0)
        learner.append(10.0, acked_since(before, now), 80.0)
        assert learner.known == 0


def test_a_huge_body_of_others_hides_nobody():
    others = (by_channel(f"<0.{number}.0>", "a", number, vhost="other") for number in range(50_000))
    assert seen(*others, by_channel("<0.1.0>", "a", 3)) == {b"a": {b"<0.1.0>": 3}}


@given(binary(max_size=400))
def test_no_bytes_make_it_fail(body):
    assert acknowledged(body, PATTERN) == {}
