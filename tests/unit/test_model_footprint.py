"""GPUs and money of a catalogue on a stack."""

import pytest

from surge.model import Filter, Settings
from surge.model.footprint import footprint, footprints, packings

POOLS = {
    "shared": {"kind": "shared", "nodes": 1},
    "pairs": {"kind": "pairs", "nodes": 2, "slots": 4},
}
IMAGE = "registry.example/a@sha256:" + "0" * 64


def settings(**prices: float) -> Settings:
    cluster = {"name": "one", "pools": POOLS}
    return Settings.parse({"stack-kind": "onprem", "cluster": cluster, "prices": prices})


def item(name: str, **keys) -> Filter:
    usual = {"image": IMAGE, "service-s": 2, "min": 2, "max": 10, "longest-job-s": 9, "owner": "me"}
    return Filter.model_validate({"name": name, "queue": f"filter.{name}", **usual, **keys})


def test_whole_gpus_count_whole_and_parts_as_the_share_of_a_card_that_nobody_else_gets():
    part = {"memory-mib": 20_000, "cores": 20}
    trainer = {"image": IMAGE, "memory-mib": 16_000, "cores": 20}
    found = footprints(
        [item("a", gpus=2), item("b", gpu=part), item("c", gpu={**part, "trainer": trainer})], settings()
    )
    assert {name: (each.least, each.most) for name, each in found.items()} == {
        "a": (4, 20),
        "b": (0.5, 2.5),
        "c": (1, 5),
    }


def test_money_is_known_when_every_pool_has_a_price():
    filters = [item("a"), item("b", gpu={"memory-mib": 20_000, "cores": 20})]
    whole = footprint(filters, settings(gpu=3, shared=2))
    assert (whole.money_least, whole.money_most) == (7, 35)
    assert footprint(filters, settings(gpu=3)).money_most is None
    assert footprints(filters, settings(gpu=3))["a"].money_most == 30


@pytest.mark.parametrize(
    "keys", [{"runs-in": ["cloud"]}, {"gpu": {"pool": "gone"}}, {"gpu": {"memory-mib": 90_000, "cores": 1}}]
)
def test_what_cannot_run_here_takes_nothing(keys):
    assert footprint([item("a", **keys)], settings()).most == 0


def test_a_worker_set_counts_once_under_its_own_name():
    pooled = {"class": "pooled", "worker-set": "warm"}
    found = footprints([item("a", **pooled), item("b", **pooled)], settings())
    assert {name: each.most for name, each in found.items()} == {"warm": 10}


def test_cards_of_each_known_pool_are_counted_at_min_and_at_max_with_what_no_filter_can_use():
    part = {"memory-mib": 50_000, "cores": 40}
    found = packings([item("a", gpu=part, max=20), item("b"), item("c", gpus=2)], settings())
    used = {pool.name: (least.cards_used, most.cards_used) for pool, (least, most) in found.items()}
    assert used == {"pairs": (0, 0), "shared": (2, 8)}
    [shared] = [both for pool, both in found.items() if pool.name == "shared"]
    assert [each.stranded_mib for each in shared] == [2 * 31_920, 8 * 31_920]
    assert sum(shared[1].unplaced.values()) == 12
