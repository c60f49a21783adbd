import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers

from surge.policy.service_time import learnt_service_s


def test_many_completions_overrule_the_catalogue():
    assert learnt_service_s(4.0, 8.0 * 1000, 1000) == pytest.approx(8.0, rel=0.02)


def test_few_completions_hardly_move_it():
    assert learnt_service_s(8.0, 60.0, 1) == pytest.approx(8.0, rel=0.35)
    assert learnt_service_s(8.0, 0.0, 0) == 8.0


def test_counters_that_cannot_be_meant_are_not_believed():
    assert learnt_service_s(8.0, 1000.0, 100_000) == 8.0
    assert learnt_service_s(8.0, 1e6, 0) == 8.0


@given(floats(0.1, 600), floats(0, 1e6), integers(0, 10**6))
def test_it_stays_within_a_factor_of_eight(catalogue_s, busy_s, completions):
    learnt = learnt_service_s(catalogue_s, busy_s, completions)
    assert catalogue_s / 8 <= learnt <= catalogue_s * 8


@pytest.mark.parametrize("wrong", [(0, 1, 1), (8, -1, 1), (8, 1, -1), (8, float("inf"), 1)])
def test_a_quantity_outside_its_range_is_refused(wrong):
    with pytest.raises(ValueError, match="want"):
        learnt_service_s(*wrong)
