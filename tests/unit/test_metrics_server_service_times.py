import pytest

from metrics_server.config import FilterSpec
from metrics_server.service_times import ServiceTimes


def spec(name: str = "a", *, service_s: float = 8.0, queue: str = "filter.a") -> FilterSpec:
    return FilterSpec(name=name, queue=queue, slots=1, service_s=service_s, drain_s=60, beta=1.06)


def learning(reads: int, *, truth_s: float = 16.0, **changed) -> ServiceTimes:
    """One filter whose workers are connected to two nodes; a message a second."""
    times = ServiceTimes(300.0)
    times.use({"a": spec(**changed)})
    for read in range(reads):
        counted = {b"filter.a": {b"<0.1.0>": 5.0 * read}, b"other": {b"<0.9.0>": 1e6 * read}}
        times.fold(10.0 * read, {"one": counted, "two": counted}, {"a": 10.0 * read * truth_s})
    return times


def test_a_filter_nobody_has_counted_has_the_catalogues_service_time():
    assert learning(0).learnt["a"] == (8.0, 0.0)
    assert learning(1).learnt["a"] == (8.0, 0.0)
    assert learning(0).learnt.get("unknown") is None


def test_messages_are_counted_on_every_node():
    service_s, known = learning(100).learnt["a"]
    assert service_s == pytest.approx(16.0, rel=0.06)
    assert known > 0.9


def test_a_node_whose_counters_began_anew_makes_one_interval_unknown():
    times = learning(100)
    before = times.learnt["a"]
    times.fold(1000.0, {"one": {b"filter.a": {b"<0.1.0>": 3.0}}, "two": {}}, {"a": 1e6})
    assert times.learnt["a"] == before


def test_a_filter_without_a_history_is_left_alone():
    times = learning(100)
    before = times.learnt["a"]
    times.fold(1000.0, {}, {})
    assert times.learnt["a"] == before


def test_a_reload_keeps_what_was_learnt_unless_the_catalogue_says_something_else():
    times = learning(100)
    before = times.learnt["a"]
    times.use({"a": spec(), "b": spec("b", queue="filter.b")})
    assert times.learnt["a"] == before
    assert times.learnt["b"] == (8.0, 0.0)
    times.use({"a": spec(service_s=9.0)})
    assert times.learnt["a"] == (9.0, 0.0)


def test_a_filter_with_another_queue_is_learnt_anew():
    times = learning(100)
    times.use({"a": spec(queue="filter.new")})
    assert times.learnt["a"] == (8.0, 0.0)
