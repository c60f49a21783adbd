"""Names into shards: stable, even, and with the least to move when there are more of them."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surge.policy.shards import MOST_SHARDS, ONE_STACK, SHARD, shard_of, shard_stack, usual_shards

NAMES = st.lists(st.from_regex(r"[a-z][a-z0-9-]{0,48}[a-z0-9]", fullmatch=True), unique=True, max_size=60)
SHARDS = st.sampled_from([1, 2, 4, 8, 16, 32, 64])


def test_a_shard_is_for_life_so_these_must_never_change():
    assert [shard_of(name, 8) for name in ("ghibli", "beard", "avatar", "sticker", "video-restyle")] == [
        0,
        0,
        6,
        1,
        3,
    ]


@given(NAMES, SHARDS, st.randoms())
def test_neither_order_nor_another_entry_moves_a_filter(names, shards, random):
    before = {name: shard_of(name, shards) for name in names}
    shuffled = [*names, "one-more"]
    random.shuffle(shuffled)
    after = {name: shard_of(name, shards) for name in shuffled}
    assert {name: after[name] for name in names} == before
    assert set(after.values()) <= set(range(shards))


@given(NAMES, st.sampled_from([1, 2, 4, 8, 16, 32]))
def test_a_doubling_moves_a_filter_to_one_place_or_not_at_all(names, shards):
    for name in names:
        assert shard_of(name, 2 * shards) in {shard_of(name, shards), shard_of(name, shards) + shards}


@pytest.mark.parametrize("shards", [1, 2, 4, 8, 16, 32])
def test_a_doubling_moves_half_of_the_names_and_shards_are_even(shards):
    names = [f"filter-{number}" for number in range(9_600)]
    moved = sum(shard_of(name, shards) != shard_of(name, 2 * shards) for name in names)
    # Six standard deviations of fair coins.
    assert abs(moved - 4_800) < 6 * math.sqrt(9_600) / 2
    mean = len(names) / shards
    for count in Counter(shard_of(name, shards) for name in names).values():
        assert abs(count - mean) <= 6 * math.sqrt(mean)


@pytest.mark.parametrize("shards", [0, -1, 3, 12, 128, 2 * MOST_SHARDS])
def test_a_number_that_would_move_more_than_it_must_is_refused(shards):
    with pytest.raises(ValueError, match="power of two"):
        shard_of("ghibli", shards)


def test_a_small_fleet_is_one_stack_and_a_large_one_has_at_most_75_filters_a_shard_on_average():
    assert [usual_shards(count) for count in (0, 1, ONE_STACK)] == [1, 1, 1]
    assert [usual_shards(count) for count in (ONE_STACK + 1, 600, 601, 1_200, 1_201)] == [8, 8, 16, 16, 32]
    assert usual_shards(10**6) == MOST_SHARDS
    for count in range(ONE_STACK + 1, MOST_SHARDS * SHARD):
        assert count / usual_shards(count) <= SHARD


def test_a_shards_stack_is_named_after_its_fleet():
    assert shard_stack("onprem", 3) == "onprem-shard-03"
