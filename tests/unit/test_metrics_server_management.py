"""Whatever the management API replies, its reader returns right numbers, none, or a ReadError."""

import asyncio
from contextlib import suppress
from pathlib import Path

import orjson
import pytest
from hypothesis import example, given
from hypothesis.strategies import (
    binary,
    booleans,
    characters,
    dictionaries,
    floats,
    integers,
    just,
    lists,
    none,
    one_of,
    randoms,
    recursive,
    text,
    tuples,
)

from metrics_server import ConfigError
from metrics_server.sources import Counts, Management, ReadError
from metrics_server.sources.management import MOST_PAGES, read_page

KEYS = ("messages_ready", "messages_unacknowledged", "consumers")
names = text(characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
counts = tuples(*[integers(0, 10**12)] * 3)
# What is no count: absent, of another type, below zero, beyond what anybody can hold.
no_counts = one_of(
    none(),
    booleans(),
    floats(),
    text(max_size=5),
    lists(booleans(), max_size=2),
    integers(-9, -1),
    just(10**15),
)
json_values = recursive(
    one_of(none(), booleans(), integers(-(2**53), 2**53), text(max_size=8)),
    lambda inner: one_of(lists(inner, max_size=4), dictionaries(text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)


def item(name: object, numbers, vhost: object = "surge", **more: object) -> dict[str, object]:
    return {"name": name, "vhost": vhost, **dict(zip(KEYS, numbers, strict=True)), **more}


def page(items: list[object], pages: object = 1) -> bytes:
    return orjson.dumps({"items": items, "page": 1, "page_count": pages, "total_count": len(items)})


def read(body: bytes) -> dict[str, tuple[float, ...]]:
    return {queue.decode(): tuple(seen[:3]) for queue, seen in read_page(body, "surge")[0].items()}


@given(dictionaries(names, counts, max_size=8), randoms())
def test_every_queue_is_read_whatever_its_name_and_place(truth, random):
    items = [item(name, numbers, node="rabbit@one", type="quorum") for name, numbers in truth.items()]
    random.shuffle(items)
    assert read(page(items)) == truth


@given(dictionaries(names, counts, min_size=1, max_size=4), integers(0, 2_000))
def test_a_truncated_page_is_an_error_and_never_a_number(truth, length):
    whole = page([item(name, numbers) for name, numbers in truth.items()])
    if length < len(whole):
        with pytest.raises(ReadError):
            read_page(whole[:length], "surge")


@given(names, counts, integers(0, 2), no_counts)
def test_a_queue_with_anything_but_three_counts_is_unknown_and_its_neighbour_is_not(
    queue, numbers, at, wrong
):
    broken = list(numbers)
    broken[at] = wrong
    whole = item("neighbour of " + queue, (1, 2, 3))
    assert read(page([item(queue, broken), whole])) == {"neighbour of " + queue: (1, 2, 3)}
    lacking = item(queue, numbers)
    del lacking[KEYS[at]]
    assert read(page([lacking, whole])) == {"neighbour of " + queue: (1, 2, 3)}


@given(names, counts, json_values.filter(lambda vhost: vhost != "surge"))
def test_another_vhost_is_not_ours(queue, numbers, vhost):
    assert read(page([item(queue, numbers, vhost), item(queue + "2", (1, 2, 3))])) == {queue + "2": (1, 2, 3)}


@given(json_values)
@example({"items": [], "page_count": MOST_PAGES + 1})
@example({"items": [], "page_count": True})
@example({"items": {}, "page_count": 1})
@example({"error": "not_authorised", "reason": "Login failed"})
def test_a_reply_of_another_shape_is_an_error_or_nothing(value):
    for body in (orjson.dumps(value), page([value])):
        with suppress(ReadError):
            assert read(body) == {}


@given(binary(max_size=200))
def test_no_bytes_make_the_reader_fail_in_another_way(body):
    with suppress(ReadError):
        assert read(body) == {}


def test_a_huge_page_of_others_hides_nobody():
    others = [item(f"other-{number}", (9, 9, 9), "other") for number in range(50_000)]
    assert read(page([*others, item("filter.a", (1, 2, 3))])) == {"filter.a": (1, 2, 3)}


class Pages:
    """A session whose answers are these pages, in order."""

    def __init__(self, *bodies: bytes) -> None:
        self.bodies = list(bodies)
        self.asked: list[str] = []

    def get(self, url: str, **how: object) -> "Pages":
        self.asked.append(f"{url} {how['params']['page']}")
        return self

    async def __aenter__(self) -> "Pages":
        self.status, self.content = 200, self
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def iter_any(self):
        yield self.bodies.pop(0)


@pytest.fixture
def source(tmp_path) -> Management:
    (tmp_path / "credentials").write_text("user:pass:word\n")
    return Management(["http://one", "http://two"], "surge/a b", tmp_path / "credentials")


def test_pages_are_read_until_the_last(source):
    bodies = [page([item(name, (1, 2, 3), "surge/a b")], 3) for name in "abc"]
    session = Pages(*bodies)
    seen = asyncio.run(source.read(session, 5))
    assert seen == dict.fromkeys([b"a", b"b", b"c"], Counts(1, 2, 3))
    assert session.asked == [f"http://one/api/queues/surge%2Fa%20b {number}" for number in (1, 2, 3)]


def test_after_a_wrong_answer_the_next_listener_is_asked(source):
    assert source.url == "http://one"
    with pytest.raises(ReadError):
        asyncio.run(source.read(Pages(b"<html>"), 5))
    assert source.url == "http://two"


@pytest.mark.parametrize("content", [b"", b"user", b"user:", b":password", b"a:b\nc:d", b"\xff:\xff"])
def test_credentials_that_are_none_are_refused_without_being_repeated(tmp_path, content):
    file = tmp_path / "credentials"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="want one line, user:password") as seen:
        Management(["http://one"], "surge", Path(file))
    assert "password'" not in str(seen.value)
