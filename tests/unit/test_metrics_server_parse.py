"""Whatever a broker replies, the parser returns right numbers or none."""

import pytest
from hypothesis import given
from hypothesis.strategies import (
    binary,
    characters,
    dictionaries,
    integers,
    lists,
    randoms,
    sampled_from,
    text,
    tuples,
)

from metrics_server.sources import Counts, newest
from metrics_server.sources.metrics_detailed import Parser

PARSE = Parser("surge", beats=True)
BEAT = 98765
KINDS = ("messages_ready", "messages_unacked", "consumers")
counts = tuples(*[integers(0, 10**9)] * 3)
names = text("abcdefghijklmnopqrstuvwxyz0123456789-.", min_size=1, max_size=30)

# As RabbitMQ 3.10.8 writes them: label values are not escaped.
HOSTILE = (
    'we"ird',
    "back\\slash",
    'filter.a",x="',
    'filter.a"} 7 x="',
    "üñï",
    " ",
    "{}",
    '"} 1',
    "filter.a ",
)


def rows(queue: str, numbers, vhost: str = "surge") -> list[str]:
    label = f'{{vhost="{vhost}",queue="{queue}"}}'
    wanted = [
        f"rabbitmq_detailed_queue_{kind}{label} {number}" for kind, number in zip(KINDS, numbers, strict=True)
    ]
    others = [
        f"rabbitmq_detailed_queue_messages{label} {numbers[0] + numbers[1]}",
        f"rabbitmq_detailed_queue_process_reductions_total{label} {BEAT}",
    ]
    return [*wanted, *others]


def reply(*lines: str) -> bytes:
    head = [
        "# TYPE rabbitmq_detailed_queue_messages_ready gauge",
        "# HELP rabbitmq_detailed_queue_consumers Consumers",
    ]
    tail = ['rabbitmq_build_info{rabbitmq_version="3.10.8"} 1', "telemetry_scrape_size_bytes_count 4"]
    return ("\n".join([*head, *lines, *tail]) + "\n").encode()


def read(body: bytes) -> dict[str, Counts]:
    return {queue.decode(): numbers for queue, numbers in PARSE(body).items()}


@given(dictionaries(names, counts, max_size=8), randoms())
def test_every_queue_is_read_in_whatever_order_the_lines_come(truth, random):
    lines = [line for queue, numbers in truth.items() for line in rows(queue, numbers)]
    random.shuffle(lines)
    assert read(reply(*lines)) == {
        queue: Counts(*map(float, numbers), BEAT) for queue, numbers in truth.items()
    }


@given(dictionaries(names, counts, min_size=1, max_size=4), integers(0, 4_000))
def test_a_truncated_reply_loses_queues_but_never_changes_a_number(truth, length):
    whole = reply(*[line for queue, numbers in truth.items() for line in rows(queue, numbers)])
    for queue, numbers in read(whole[:length]).items():
        assert numbers[:3] == truth[queue]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_queue_name_never_lends_its_numbers_to_another_queue(name):
    seen = read(reply(*rows("filter.a", (1, 2, 3)), *rows(name, (700, 700, 700))))
    assert seen.pop("filter.a") == Counts(1, 2, 3, BEAT)
    assert set(seen) <= {name}


@given(lists(tuples(text(characters(blacklist_categories=["Cs"]), max_size=30), counts), max_size=6))
def test_no_name_without_a_line_break_touches_the_queue_beside_it(others):
    lines = [
        line
        for queue, numbers in others
        if "\n" not in queue and queue != "filter.a"
        for line in rows(queue, numbers)
    ]
    assert read(reply(*lines, *rows("filter.a", (1, 2, 3))))["filter.a"] == Counts(1, 2, 3, BEAT)


@given(names, counts, counts, sampled_from(KINDS))
def test_contradicting_rows_make_a_queue_unknown(queue, numbers, forged, kind):
    extra = rows(queue, forged)[KINDS.index(kind)]
    seen = read(reply(*rows(queue, numbers), extra))
    same = numbers[KINDS.index(kind)] == forged[KINDS.index(kind)]
    assert (queue in seen) == same


def test_a_reply_that_ends_within_its_last_row_loses_that_queue_alone():
    truth = {"filter.a": (1, 2, 3), "filter.b": (4, 5, 6)}
    families = zip(*[rows(queue, numbers) for queue, numbers in truth.items()], strict=True)
    body = reply(*[line for family in families for line in family]).partition(b"\nrabbitmq_build")[0]
    assert set(read(body + b"\n")) == {"filter.a", "filter.b"}
    assert set(read(body)) == {"filter.a"}


@given(names, counts, sampled_from([*KINDS, "process_reductions_total"]))
def test_a_queue_without_all_its_rows_is_unknown(queue, numbers, kind):
    lines = [line for line in rows(queue, numbers) if f"_{kind}{{" not in line]
    assert queue not in read(reply(*lines))


def test_another_vhost_is_not_ours():
    assert (
        read(reply(*rows("filter.a", (1, 2, 3), vhost="other"), *rows("filter.a", (4, 5, 6), vhost="surge2")))
        == {}
    )


@pytest.mark.parametrize("number", ["NaN", "undefined", "", "1e999", "+Inf", "0x10", "9" * 400, "1 2"])
def test_a_value_that_is_no_plain_number_makes_the_queue_unknown(number):
    lines = rows("filter.a", (1, 2, 3))
    lines[0] = lines[0].rsplit(" ", 1)[0] + " " + number
    assert read(reply(*lines)) == {}


def test_a_huge_reply_of_others_hides_nobody():
    others = [line for number in range(30_000) for line in rows(f"other-{number}", (9, 9, 9), "other")]
    assert read(reply(*others, *rows("filter.a", (1, 2, 3)))) == {"filter.a": Counts(1, 2, 3, BEAT)}


NUMBERS = ("7", "007", "-3", "1.5", "", " 5", "1e3", "nan", "1_0", "5 ", "9" * 15, "9" * 16, "9" * 400)


@given(
    dictionaries(names, counts, min_size=1, max_size=6),
    lists(integers(0, 10**6), max_size=6),
    randoms(use_true_random=True),
)
def test_what_was_read_before_changes_nothing_in_what_is_read(truth, cuts, random):
    kinds = (*KINDS, "process_reductions_total")
    heads = [
        f'rabbitmq_detailed_queue_{kind}{{vhost="surge",queue="{queue}"}} '
        for kind in kinds
        for queue in truth
    ]
    parse = Parser("surge", beats=True)
    parse(reply(*[head + "1" for head in heads]))
    for cut in cuts:
        usual = reply(*[f"{head}{cut}" for head in heads])
        odd = [head + random.choice((*NUMBERS, *["12"] * 30)) for head in heads]
        strange = [*rows(random.choice(HOSTILE), (4, 5, 6)), *rows("b", (4, 5, 6), "other"), "7", *odd]
        odd.insert(cut % (len(odd) + 1), random.choice(strange))
        for body in (usual, usual[: cut % 2_000], reply(*odd), reply(*random.sample(odd, len(odd))), usual):
            assert parse(body) == Parser("surge", beats=True)(body)


def test_rows_of_the_expected_queues_are_read_without_a_search(monkeypatch):
    parse = Parser("surge")
    lines = sorted([*rows("a", (1, 2, 3))[:3], *rows("b", (1, 2, 3))[:3]])
    assert parse(reply(*lines)) == dict.fromkeys([b"a", b"b"], Counts(1, 2, 3))
    monkeypatch.setattr(parse, "_any_queues", None)
    assert parse(reply(*[line + "0" for line in lines])) == dict.fromkeys([b"a", b"b"], Counts(10, 20, 30))


@given(binary(max_size=400))
def test_no_bytes_make_the_parser_fail(body):
    assert PARSE(body) == {}


def test_the_row_that_changed_last_is_believed_after_a_leader_moved():
    old, new = Counts(0, 9, 9), Counts(0, 3, 9)
    assert newest({"a": (10.0, old), "b": (12.0, new)}) == "b"
    assert newest({"a": (10.0, old), "b": (10.0, new)}) is None
    assert newest({"a": (10.0, old), "b": (10.0, old)}) in {"a", "b"}
    assert newest({}) is None
