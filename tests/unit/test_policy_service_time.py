import pytest
from hypothesis import given
from hypothesis.strategies import dictionaries, floats, integers, lists, none, one_of, tuples

from surge.policy.history import History
from surge.policy.service_time import ServiceTime, acked_since, learnt_service_s


def learning(service_s: float, *, rate: float, reads: int, catalogue_s: float = 8.0) -> ServiceTime:
    """A filter whose requests, `rate` a second, take service_s each."""
    learnt = ServiceTime(catalogue_s)
    learnt.append(0.0, None, 0.0)
    for read in range(1, reads + 1):
        learnt.append(10.0 * read, 10.0 * rate, 10.0 * read * rate * service_s)
    return learnt


def test_many_completions_overrule_the_catalogue():
    assert learnt_service_s(4.0, 8.0 * 1000, 1000) == pytest.approx(8.0, rel=0.02)


def test_few_completions_hardly_move_it():
    assert learnt_service_s(8.0, 60.0, 1) == pytest.approx(8.0, rel=0.35)
    assert learnt_service_s(8.0, 0.0, 0) == 8.0


def test_counters_that_cannot_be_meant_are_not_believed():
    assert learnt_service_s(8.0, 1000.0, 100_000) == 8.0
    assert learnt_service_s(8.0, 1e6, 0) == 8.0


@given(floats(0.1, 600), floats(0, 1e6), integers(0, 10**6))
def test_it_stays_within_a_factor_of_five(catalogue_s, busy_s, completions):
    learnt = learnt_service_s(catalogue_s, busy_s, completions)
    assert catalogue_s / 5 <= learnt <= catalogue_s * 5


@pytest.mark.parametrize("wrong", [(0, 1, 1), (8, -1, 1), (8, 1, -1), (8, float("inf"), 1)])
def test_a_quantity_outside_its_range_is_refused(wrong):
    with pytest.raises(ValueError, match="want"):
        learnt_service_s(*wrong)


@pytest.mark.parametrize("wrong", [(0, 300), (8, 0)])
def test_a_learner_without_a_catalogue_or_a_memory_is_refused(wrong):
    with pytest.raises(ValueError, match="want > 0"):
        ServiceTime(wrong[0], remember_s=wrong[1])


@pytest.mark.parametrize("truth_s", [3.0, 4.0, 8.0, 16.0, 30.0])
@pytest.mark.parametrize("rate", [0.175, 1, 60])
def test_a_service_time_up_to_four_times_wrong_is_learnt(truth_s, rate):
    assert learning(truth_s, rate=rate, reads=300).seconds == pytest.approx(truth_s, rel=0.12)


def test_how_far_it_is_known_grows_with_what_was_counted():
    assert ServiceTime(8.0).known == 0.0
    few, many = learning(8.0, rate=0.1, reads=20), learning(8.0, rate=1, reads=200)
    assert few.known == pytest.approx(20 / 40, rel=0.05)
    assert 0.9 < many.known < 1


def test_counters_that_are_not_believed_are_not_known():
    early = learning(0.5, rate=1, reads=200)
    assert (early.seconds, early.known) == (8.0, 0.0)


def test_a_slow_filter_remembers_longer_than_a_quick_one():
    slow, quick = learning(8.0, rate=0.1, reads=600), learning(8.0, rate=60, reads=600)
    for learnt, rate in ((slow, 0.1), (quick, 60)):
        for read in range(601, 691):
            passed = 10.0 * (read - 600)
            learnt.append(10.0 * read, 10.0 * rate, 6000 * rate * 8.0 + passed * rate * 16.0)
    assert slow.seconds < 10
    assert quick.seconds == pytest.approx(16.0, rel=0.06)


def test_the_first_read_and_one_whose_counters_began_anew_teach_nothing():
    learnt = ServiceTime(8.0)
    learnt.append(0.0, 1000, 50_000.0)
    assert (learnt.seconds, learnt.known) == (8.0, 0.0)
    learnt = learning(16.0, rate=1, reads=60)
    known = learnt.seconds
    learnt.append(610.0, None, 99_000.0)
    assert learnt.seconds == known
    learnt.append(620.0, 0, 99_160.0)
    assert learnt.seconds > known


@given(
    floats(0.1, 600),
    lists(tuples(floats(-1e6, 1e6), one_of(none(), integers(-5, 10**6)), floats(-1e6, 1e9)), max_size=30),
)
def test_no_reads_take_it_further_than_a_factor_of_five(catalogue_s, reads):
    learnt = ServiceTime(catalogue_s)
    for read in reads:
        learnt.append(*read)
        assert catalogue_s / 5 <= learnt.seconds <= catalogue_s * 5


def test_the_busy_seconds_of_a_history_outlive_its_horizon():
    history = History(60.0, 8.0)
    assert history.busy_s == 0.0
    for second in range(500):
        history.append(second, 7, 0)
    assert history.busy_s == pytest.approx(7 * 499)


@pytest.mark.parametrize(
    ("before", "now", "acked"),
    [
        ({"a": 5, "b": 7}, {"a": 9, "b": 7}, 4),
        ({"a": 5}, {"a": 6, "b": 3}, 4),
        ({"a": 5, "b": 7}, {"a": 6}, 1),
        ({}, {"a": 2}, 2),
        ({}, {}, 0),
        (None, {"a": 2}, None),
        ({"a": 5}, {"a": 2}, None),
        ({"a": 5}, {"b": 2}, None),
        ({"a": 5}, {}, None),
    ],
    ids=["grew", "joined", "left", "first", "idle", "first read", "reset", "all new", "all gone"],
)
def test_acknowledgements_between_two_reads(before, now, acked):
    assert acked_since(before, now) == acked


counters = dictionaries(integers(0, 8), integers(0, 1000))


@given(counters, counters)
def test_acknowledgements_are_never_negative_nor_more_than_all(before, now):
    acked = acked_since(before, now)
    assert acked is None or 0 <= acked <= sum(now.values())
