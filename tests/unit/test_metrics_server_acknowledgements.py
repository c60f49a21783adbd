import pytest

from metrics_server.sources.acknowledgements import acknowledged, acknowledged_pattern

PATTERN = acknowledged_pattern("surge")


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
