"""Whatever passes `surge filter check`: no order of arrivals and departures puts a pair on two cards."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.strategies import booleans, composite, integers, lists, sampled_from

from surge.model import Catalogue, Filter, ProblemsError, Settings
from surge.model.capacity import pool_of
from surge.policy.gpu import Books, Pair, Placement, Pool, pod_of

IMAGE = "registry.example/filter@sha256:" + "0" * 64

WORKERS = {"image": IMAGE, "service-s": 1, "longest-job-s": 9, "min": 1, "max": 1, "owner": "me"}
WHOLE = {**WORKERS, "gpus": 1}


@composite
def pools(draw):
    """Settings of one pool, unsafe ones among them."""
    return {
        "kind": draw(sampled_from(["pairs", "pairs", "shared"])),
        "nodes": draw(integers(1, 2)),
        "gpus-per-node": draw(integers(2, 4)),
        "card-mib": draw(sampled_from([40_000, 81_920])),
        "slots": draw(sampled_from([2, 4, 8, 3])),
        "gpu-policy": draw(sampled_from(["binpack", "binpack", "spread"])),
    }


@composite
def entries(draw):
    """An entry around what a card of k pairs grants, so that a rule off by little would let it pass."""
    k, percent = draw(sampled_from([1, 2, 4])), sampled_from([40, 80, 100, 100, 110])
    mib, cores = 81_920 * draw(percent) // k // 100, draw(percent) // k
    worker = {"memory-mib": draw(integers(1, mib - 1)), "cores": draw(integers(0, cores - 1))}
    rest = {"memory-mib": mib - worker["memory-mib"], "cores": cores - worker["cores"], "image": IMAGE}
    shape = draw(
        sampled_from(
            [
                {"gpu": {**worker, "trainer": rest}},
                {"gpu": {**worker, "trainer": rest}},
                {"gpu": {**worker, "trainer": {**worker, "image": IMAGE, "runs": "first"}}},
                {"gpu": {**worker, "trainer": {**rest, "runs": "first"}}},
                {"gpu": worker},
                {"gpus": draw(integers(1, 4))},
                {"gpu": {"pool": "pool-0"}},
            ]
        )
    )
    if "gpu" in shape and draw(booleans()):
        shape["gpu"]["pool"] = draw(sampled_from(["pool-0", "pool-1"]))
    return {**WORKERS, **shape}


def settings_of(pools: dict) -> Settings:
    return Settings.parse(
        {"stack-kind": "local", "cluster": {"name": "one", "nodes": 1, "gpus-per-node": 4, "pools": pools}}
    )


def checked(filters: dict, settings: Settings) -> Catalogue | None:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(json.dumps({"filters": filters}))
        file.flush()
        try:
            return Catalogue.read(Path(file.name), settings)
        except ProblemsError:
            return None


class Cluster(RuleBasedStateMachine):
    """One HAMi for all pools; a pod comes into question on the nodes of its filter's pool alone."""

    @initialize(
        asked=lists(pools(), min_size=1, max_size=2),
        wanted=lists(entries(), min_size=4, max_size=8),
        numa=lists(integers(0, 1), min_size=4, max_size=4),
    )
    def check(self, asked, wanted, numa):
        kept: dict = {}
        for number, pool in enumerate(asked):
            try:
                settings_of({**kept, f"pool-{number}": pool})
            except ProblemsError:
                continue
            kept[f"pool-{number}"] = pool
        self.settings, filters = settings_of(kept), {}
        self.catalogue: tuple[Filter, ...] = ()
        wanted = [WHOLE, *wanted]
        for number, entry in enumerate(wanted):
            if (catalogue := checked({**filters, f"filter-{number}": entry}, self.settings)) is not None:
                filters[f"filter-{number}"], self.catalogue = entry, catalogue.filters
        self.numa = numa
        self.running: list[tuple[Filter, Placement]] = []
        self.books = self.empty()

    def empty(self) -> Books:
        nodes = [node for pool in self.settings.cluster.gpu_pools for node in pool.cards()]
        for node in nodes:
            for card, numa in zip(node, self.numa, strict=False):
                card.numa = numa
        return Books(nodes)

    def nodes_of(self, pool: Pool) -> range:
        first = 0
        for each in self.settings.cluster.gpu_pools:
            if each == pool:
                break
            first += each.nodes
        return range(first, first + pool.nodes)

    @rule(numbers=lists(integers(0, 8), min_size=2, max_size=12))
    def arrive(self, numbers):
        for number in numbers:
            self.come(self.catalogue[number % len(self.catalogue)])

    def come(self, item):
        pool, refused = pool_of(item, self.settings.cluster.gpu_pools)
        assert not refused
        placement = self.books.place(pod_of(item.shape), among=self.nodes_of(pool), policy=pool.policy)
        if placement is not None:
            self.running.append((item, placement))

    @precondition(lambda self: self.running)
    @rule(number=integers(0, 99))
    def leave(self, number):
        _, placement = self.running.pop(number % len(self.running))
        self.books.remove(placement)

    @precondition(lambda self: self.running)
    @rule()
    def the_scheduler_starts_again_and_reads_what_runs(self):
        books = self.empty()
        self.running = [
            (item, books.restore(placement.node, pod_of(item.shape), placement.cards))
            for item, placement in self.running
        ]
        assert books.nodes == self.books.nodes
        self.books = books

    @invariant()
    def every_pair_is_on_one_card(self):
        for item, placement in self.running:
            assert placement.on_one_card or not isinstance(item.shape, Pair), item

    @invariant()
    def no_card_holds_more_than_it_has(self):
        for card in (card for node in self.books.nodes for card in node):
            assert 0 <= card.used_slots <= card.slots
            assert 0 <= card.used_mib <= card.memory_mib
            assert 0 <= card.used_cores <= 100


TestCluster = pytest.mark.long(Cluster.TestCase)
TestCluster.settings = settings(
    max_examples=300, phases=(Phase.explicit, Phase.generate), stateful_step_count=40, deadline=None
)
