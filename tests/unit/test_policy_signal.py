from math import isfinite

import pytest
from hypothesis import given
from hypothesis.strategies import integers

from surge.policy.signal import active_ratio, active_ratio_raw

counts = integers(-5, 2_000)


@pytest.mark.parametrize(
    ("counts_and_slots", "ratio", "raw"),
    [
        ((7, 10, 0, 1), 0.7, 0.7),
        ((10, 10, 500, 1), 1.0, 1.0),
        ((20, 12, 0, 1), 1.0, 1.667),
        ((20, 10, 0, 4), 0.5, 2.0),
        ((1, 3, 0, 1), 0.333, 0.333),
        ((0, 0, 0, 1), 0.0, 0.0),
        ((0, 0, 1, 1), 1.0, 1.0),
        ((3, 0, 0, 1), 1.0, 1.0),
        ((-1, 10, -3, 1), 0.0, 0.0),
    ],
    ids=["0.7", "saturated", "draining classic", "slots", "rounded", "idle", "wakes", "held", "negative"],
)
def test_the_ratio_is(counts_and_slots, ratio, raw):
    assert active_ratio(*counts_and_slots) == ratio
    assert active_ratio_raw(*counts_and_slots[:3]) == raw


@given(counts, counts, counts, integers(1, 64))
def test_the_ratio_is_a_number_between_0_and_1_in_thousandths(unacked, consumers, ready, slots):
    ratio, raw = active_ratio(unacked, consumers, ready, slots), active_ratio_raw(unacked, consumers, ready)
    assert isfinite(ratio)
    assert 0 <= ratio <= 1
    assert ratio == round(ratio, 3)
    assert raw >= 0
    assert raw == round(raw, 3)


@given(integers(0, 500), integers(1, 500), integers(1, 64))
def test_a_busier_filter_never_has_a_smaller_ratio(unacked, consumers, slots):
    assert active_ratio(unacked + 1, consumers, 0, slots) >= active_ratio(unacked, consumers, 0, slots)


@pytest.mark.parametrize("count", [float("nan"), float("inf"), float("-inf")])
def test_a_count_that_is_no_number_is_refused(count):
    with pytest.raises(ValueError, match="finite"):
        active_ratio(count, 1, 0)


def test_a_worker_without_slots_is_refused():
    with pytest.raises(ValueError, match="slots=0"):
        active_ratio(1, 1, 0, 0)
