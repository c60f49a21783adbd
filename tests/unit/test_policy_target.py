from math import ceil

import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers

from surge.policy.demand import staffed
from surge.policy.target import automatic_target, erlang_c, servers_for, target_ratio

busy = floats(0.1, 5_000)
growth = floats(0, 0.02)
lead = floats(0, 1_800)


@pytest.mark.parametrize(("mean_busy", "expected"), [(7, 0.714), (70, 0.888), (700, 0.95)])
def test_a_large_filter_may_run_hotter_than_a_small_one(mean_busy, expected):
    assert target_ratio(mean_busy, growth_per_s=0, lead_s=90) == pytest.approx(expected, abs=1e-3)


@given(busy, growth, lead)
def test_faster_growth_never_raises_the_target(busy, growth, lead):
    calm = target_ratio(busy, growth_per_s=0, lead_s=lead)
    assert target_ratio(busy, growth_per_s=growth, lead_s=lead) <= calm


@given(busy, growth, lead)
def test_the_target_is_one_that_hpa_can_steer_to(busy, growth, lead):
    assert 0.35 <= target_ratio(busy, growth_per_s=growth, lead_s=lead) <= 0.95


@pytest.mark.parametrize(
    ("least", "most", "expected"),
    [(1, 1, 0.35), (0, 4, 0.464), (1, 20, 0.588), (10, 110, 0.804), (500, 2_000, 0.934)],
)
def test_a_target_by_size_alone_rises_with_the_size(least, most, expected):
    found = automatic_target(least, most, slots=1, lead_s=63, beta=1.06)
    assert found == pytest.approx(expected, abs=1e-3)


@given(integers(0, 50), integers(51, 5_000), integers(1, 64))
def test_a_target_by_size_leaves_the_square_root_in_hand_at_that_size(least, most, slots):
    target = automatic_target(least, most, slots=slots, lead_s=0, beta=1.06)
    busy = target * slots * (max(1, least) * most) ** 0.5
    assert target in {0.35, 0.95} or busy / target == pytest.approx(busy + 1.06 * busy**0.5)


@pytest.mark.parametrize("mean_busy", [0, -1, float("nan")])
def test_a_filter_without_load_has_no_target(mean_busy):
    with pytest.raises(ValueError, match="busy="):
        target_ratio(mean_busy, growth_per_s=0, lead_s=90)


@pytest.mark.parametrize(("servers", "load", "expected"), [(1, 0.7, 0.7), (2, 1, 1 / 3), (10, 7, 0.2217)])
def test_erlang_c_is_the_textbooks(servers, load, expected):
    assert erlang_c(servers, load) == pytest.approx(expected, abs=1e-4)


def test_erlang_c_does_not_overflow_at_thousands_of_servers():
    assert 0 < erlang_c(5_000, 4_900) < 1


@given(integers(1, 300), floats(0, 300))
def test_one_more_server_never_makes_more_requests_wait(servers, load):
    assert erlang_c(servers + 1, load) <= erlang_c(servers, load)


@pytest.mark.parametrize("load", [2, 7, 30, 70, 300, 700])
def test_square_root_staffing_agrees_with_erlang_c_within_one_server(load):
    by_the_rule = ceil(staffed(load, 0, 8, 60, 1.06))
    assert abs(by_the_rule - servers_for(load, 0.2)) <= 1


@pytest.mark.parametrize(("load", "share"), [(-1, 0.2), (1, 0), (1, 1)])
def test_a_quantity_outside_its_range_is_refused(load, share):
    with pytest.raises(ValueError, match="want"):
        servers_for(load, share)
