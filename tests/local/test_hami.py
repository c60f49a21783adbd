"""HAMi's protocol with the real kube-scheduler: our extender and acker, and the verifier that looks on."""

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any
from urllib.request import urlopen

import pytest
from kubernetes import client, config

from lab.control_plane import ScratchControlPlane, scratch_control_plane, write_private
from surge.policy.gpu import Fraction, Pair, Pool, Shape, Share, Whole, limits, protocol
from surge.policy.gpu.shapes import PAIR_LABEL

pytestmark = pytest.mark.local

BASE_PORT = 23_900
ROOT = Path(__file__).parents[2]
PAIRS = Pool("pairs", "pairs", nodes=2, cards_per_node=2, slots=4)
SHARED = Pool("shared", "shared", nodes=1, cards_per_node=3, slots=10)
CARDS = {
    card: found
    for pool in (PAIRS, SHARED)
    for number in range(pool.nodes)
    for card, found in protocol.registered(protocol.registration(f"{pool.name}-{number}", pool)).items()
}


class Plane(ScratchControlPlane):
    """With HAMi's stand-in and the verifier, as the local stack runs them."""

    PORTS = 22

    @property
    def hami(self) -> str:
        return f"http://127.0.0.1:{self.ports.hami}"

    def start_workloads(self, *, hpa_sync_s: float = 2.0) -> None:
        super().start_workloads(hpa_sync_s=hpa_sync_s)
        self.start_hami()
        command = ["-m", "verifier", "--port", str(self.ports.verifier), "--kubeconfig", "{dir}/kubeconfig"]
        self._python("verifier", command)
        self._until(lambda: self.metrics() is not None, "verifier")

    def start_hami(self) -> None:
        settings = {"kubeconfig": "kubeconfig", "port": self.ports.hami}
        write_private(self._folder("hami") / "config.json", json.dumps(settings))
        self._python("hami", ["-m", "lab.hami", "--config", "config.json"])
        self._until(lambda: urlopen(f"{self.hami}/readyz", timeout=5).status == 200, "hami")

    def restart_hami(self) -> None:
        self._end("hami")
        self.start_hami()

    def metrics(self) -> dict[str, float]:
        """What the verifier says of the filter `avatar`."""
        with urlopen(f"http://127.0.0.1:{self.ports.verifier}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        found = re.findall(r'^surge_same_gpu_(\w+)\{filter="avatar"\} (\S+)$', text, re.MULTILINE)
        return {name: float(value) for name, value in found}

    def _python(self, name: str, arguments: list[str]) -> None:
        self._start(
            name,
            [sys.executable, *arguments],
            user=name,
            groups=["system:masters"],
            environment={"PYTHONPATH": str(ROOT)},
        )


@pytest.fixture(scope="module")
def plane() -> Iterator[Plane]:
    with scratch_control_plane(BASE_PORT, workloads=True, kind=Plane) as running:
        yield running


@pytest.fixture(scope="module")
def core(plane) -> client.CoreV1Api:
    core = client.CoreV1Api(config.new_client_from_config(str(plane.kubeconfig_path)))
    for pool in (PAIRS, SHARED):
        for number in range(pool.nodes):
            core.create_node(node(f"{pool.name}-{number}", pool))
    return core


@pytest.fixture(autouse=True)
def _empty(core) -> Iterator[None]:
    yield
    core.delete_collection_namespaced_pod("default", grace_period_seconds=0)
    eventually(lambda: not core.list_namespaced_pod("default").items, "no pod any more")


def node(name: str, pool: Pool) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "labels": {"gpu": "on", "surge.dev/pool": pool.name},
            "annotations": {protocol.REGISTER: protocol.registration(name, pool)},
        },
        "status": {
            "capacity": {"nvidia.com/gpu": str(pool.slots * pool.cards_per_node)},
            "allocatable": {"nvidia.com/gpu": str(pool.slots * pool.cards_per_node)},
        },
    }


def pod(shape: Shape, **labels: str) -> dict[str, Any]:
    def container(name: str, asked: Share | Whole) -> dict[str, Any]:
        return {"name": name, "image": name, "resources": {"limits": limits(asked)}}

    containers, first, pool = [], [], SHARED
    match shape:
        case Fraction(share):
            containers = [container("worker", share)]
        case Pair(trainer, worker, trains_first):
            containers, siblings = [container("worker", worker)], [container("trainer", trainer)]
            labels |= {"surge.dev/filter": "avatar", **dict([PAIR_LABEL])}
            if trains_first:
                first = siblings
            else:
                containers, pool = [*containers, {"name": "log", "image": "log"}, *siblings], PAIRS
        case Whole():
            worker = container("worker", shape)
            worker["resources"]["limits"]["nvidia.com/gpucores"] = "100"
            containers = [worker]
    return {
        "metadata": {
            "generateName": "pod-",
            "labels": {"scheduling.x-k8s.io/pod-group": "all", **labels},
            "annotations": {protocol.GPU_POLICY: "binpack"},
        },
        "spec": {
            "schedulerName": protocol.SCHEDULER,
            "nodeSelector": {"surge.dev/pool": pool.name},
            "containers": containers,
            "initContainers": first,
        },
    }


def eventually(check: Callable[[], Any], what: str, patience_s: float = 60) -> Any:
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if seen := check():
            return seen
        time.sleep(0.1)
    raise AssertionError(f"never seen within {patience_s:g} s: {what}")


def acknowledged(core: client.CoreV1Api, count: int) -> list[client.V1Pod]:
    """Exactly `count` pods are bound and have their cards, and no node is locked any more."""

    def settled() -> list[client.V1Pod] | None:
        pods = core.list_namespaced_pod("default").items
        done = [
            each for each in pods if (each.metadata.annotations or {}).get(protocol.BIND_PHASE) == "success"
        ]
        locks = [each for each in core.list_node().items if protocol.LOCK in each.metadata.annotations]
        return done if len(done) == count and not locks else None

    return eventually(settled, f"{count} pods with cards")


def cards_of(item: client.V1Pod) -> list[tuple[protocol.Grant, ...]]:
    return protocol.grants_of(item.metadata.annotations[protocol.ALLOCATED])


def assert_sound(pods: list[client.V1Pod]) -> None:
    """Pairs hold one card each, on their own node, and no card is given away beyond what it has."""
    slots, memory, cores = Counter[str](), Counter[str](), Counter[str]()
    for item in pods:
        grants = [grant for each in cards_of(item) for grant in each]
        assert {grant.card.rpartition("-")[0] for grant in grants} == {f"GPU-{item.spec.node_name}"}
        assert item.metadata.annotations[protocol.NODE] == item.spec.node_name
        assert set(item.metadata.annotations[protocol.TO_ALLOCATE]) == {";"}
        if PAIR_LABEL[0] in item.metadata.labels:
            assert len(grants) == 2
            assert len({grant.card for grant in grants}) == 1, item.metadata.annotations
        # What runs one after the other is booked once.
        for grant in grants[:1] if item.spec.init_containers else grants:
            slots[grant.card] += 1
            memory[grant.card] += grant.memory_mib
            cores[grant.card] += grant.cores
    for card, of_card in CARDS.items():
        assert (slots[card], memory[card], cores[card]) <= (of_card.slots, 81_920, 100)
        assert slots[card] <= of_card.slots
        assert memory[card] <= of_card.memory_mib
        assert cores[card] <= 100


def drawn(random: Random) -> Shape:
    share = Share(random.randint(1_000, 12_000), random.randint(1, 12))
    return random.choice(
        [
            Pair(Share(random.randint(1_000, 20_480), random.randint(1, 25)), Share(20_480, 25)),
            Pair(Share(20_000, 25), Share(random.randint(1_000, 20_480), random.randint(1, 25))),
            Pair(share, share, trains_first=True),
            Fraction(share),
        ]
    )


def test_pairs_and_parts_that_come_and_go_hold_their_cards_and_no_card_gives_more_than_it_has(plane, core):
    random, running = Random(6), []
    for turn in range(6):
        shapes = [drawn(random) for _ in range(8)]
        long_lived = sum(isinstance(shape, Pair) and not shape.trains_first for shape in shapes)
        room = 8 - sum(len(each.spec.containers) == 3 for each in running)
        for shape in shapes[: 8 - max(0, long_lived - room)] if long_lived <= room else shapes[:room]:
            core.create_namespaced_pod("default", pod(shape))
        running = acknowledged(core, len(core.list_namespaced_pod("default").items))
        assert_sound(running)
        for gone in random.sample(running, len(running) // 2 + 2):
            core.delete_namespaced_pod(gone.metadata.name, "default", grace_period_seconds=0)
            running.remove(gone)
        if turn == 3:
            plane.restart_hami()
    eventually(lambda: plane.metrics().get("violations", 0) == 0, "no pair on two cards")


def test_a_pool_that_is_full_takes_the_next_pair_when_one_has_left(core):
    for _ in range(10):
        core.create_namespaced_pod("default", pod(Pair(Share(20_000, 25), Share(20_000, 25))))
    running = acknowledged(core, 8)
    assert_sound(running)
    core.delete_namespaced_pod(running[0].metadata.name, "default", grace_period_seconds=0)
    eventually(lambda: len(core.list_namespaced_pod("default").items) == 9, "one pair less")
    assert_sound(acknowledged(core, 8))


def test_whole_cards_of_a_shared_pool_are_shared_with_nobody(core):
    core.create_namespaced_pod("default", pod(Fraction(Share(1_000, 10))))
    core.create_namespaced_pod("default", pod(Whole(2)))
    running = acknowledged(core, 2)
    assert_sound(running)
    assert len({grant.card for item in running for each in cards_of(item) for grant in each}) == 3


def test_the_verifier_tells_of_a_pair_on_two_cards_and_of_one_that_nobody_can_read(plane, core):
    core.create_namespaced_pod("default", pod(Pair(Share(20_000, 25), Share(20_000, 25))))
    [pair] = acknowledged(core, 1)

    def say(cards: str) -> None:
        annotations = {"metadata": {"annotations": {protocol.ALLOCATED: cards}}}
        core.patch_namespaced_pod(pair.metadata.name, "default", annotations)

    def told(**wanted: float) -> None:
        eventually(lambda: wanted.items() <= plane.metrics().items(), str(wanted))

    told(pairs=1, violations=0, unknown=0)
    right = pair.metadata.annotations[protocol.ALLOCATED]
    first, other = protocol.registered(protocol.registration(pair.spec.node_name, PAIRS))
    card = cards_of(pair)[0][0].card
    say(right.replace(card, other if card == first else first, 1))
    told(pairs=1, violations=1)
    say("nonsense")
    told(pairs=0, violations=0, unknown=1)
    say(right)
    told(pairs=1, violations=0, unknown=0)
