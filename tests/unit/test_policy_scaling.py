import pytest

from surge.policy.scaling import to_zero
from surge.policy.timescale import TimeScale


@pytest.mark.parametrize(("slo_s", "poll_s"), [(20, 5), (60, 6), (180, 18), (3_600, 30)])
def test_a_filter_at_rest_is_looked_at_ten_times_within_what_its_requests_may_wait(slo_s, poll_s):
    assert to_zero(TimeScale(1), slo_s)["pollingInterval"] == poll_s


def test_looks_at_a_filter_at_rest_are_as_compressed_as_its_time():
    assert to_zero(TimeScale(7.5), 180) == {"pollingInterval": 2, "cooldownPeriod": 80}
