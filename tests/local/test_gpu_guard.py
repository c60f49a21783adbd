"""The admission policy for GPU shapes, judged by a real API server."""

import itertools
import time
from collections.abc import Iterator

import pytest
from kubernetes import client, config, utils

from lab.control_plane import scratch_control_plane
from surge.policy.gpu import (
    Fraction,
    Pair,
    Pool,
    Share,
    Whole,
    guard_objects,
    limits,
    refusals,
)

pytestmark = pytest.mark.local

BASE_PORT = 23_700
SCHEDULER = "hami-scheduler"
POOLS = [
    Pool("gpu", "whole", nodes=1, cards_per_node=8),
    Pool("shared", "shared", nodes=1, cards_per_node=8, slots=10),
    Pool("pairs", "pairs", nodes=1, cards_per_node=8, slots=4),
    Pool("wide", "pairs", nodes=1, cards_per_node=8, slots=2),
]
BY_NAME = {pool.name: pool for pool in POOLS}
PART = Share(20_000, 25)
SHAPES = [
    Whole(),
    Whole(8),
    Whole(9),
    Fraction(PART),
    Fraction(Share(20_000)),
    Fraction(Share(None, 25)),
    Fraction(Share(20_000, 100)),
    Fraction(Share(20_000, 0)),
    Fraction(Share(81_921, 25)),
    Pair(PART, PART),
    Pair(PART, Share(20_960, 25)),
    Pair(PART, Share(20_961, 25)),
    Pair(PART, Share(20_000, 26)),
    Pair(Share(61_920, 25), PART),
    Pair(Share(61_921, 25), PART),
    Pair(Share(), Share()),
    Pair(PART, Share(8_000)),
    Pair(PART, PART, trains_first=True),
    Pair(PART, Share(8_000, 25), trains_first=True),
    Pair(Share(), Share(), trains_first=True),
]


def container(name: str, asked: dict[str, str], **more) -> dict:
    return {"name": name, "image": name, "resources": {"limits": asked}, **more}


def pod(pool: str, *containers: dict, init=(), annotations=None, **spec) -> dict:
    marks = {"hami.io/gpu-scheduler-policy": "binpack"} if annotations is None else annotations
    return {
        "metadata": {"generateName": "pod-", "annotations": marks},
        "spec": {
            "nodeSelector": {"surge.dev/pool": pool},
            "schedulerName": SCHEDULER,
            "containers": list(containers),
            "initContainers": list(init),
            **spec,
        },
    }


def pod_of(shape, pool: str) -> dict:
    match shape:
        case Whole():
            return pod(pool, container("worker", limits(shape)))
        case Fraction(share):
            return pod(pool, container("worker", limits(share)))
        case Pair(trainer, worker, first):
            one, other = container("trainer", limits(trainer)), container("worker", limits(worker))
            return pod(pool, other, init=[one]) if first else pod(pool, one, other)


@pytest.fixture(scope="module")
def core() -> Iterator[client.CoreV1Api]:
    with scratch_control_plane(BASE_PORT) as plane:
        api = config.new_client_from_config(str(plane.kubeconfig_path))
        for item in guard_objects(POOLS, SCHEDULER):
            utils.create_from_dict(api, item)
        core = client.CoreV1Api(api)
        # The API server learns of a new policy a moment after it is made.
        deadline = time.monotonic() + 60
        while refused(core, pod("nowhere", container("worker", limits(Whole())))) is None:
            assert time.monotonic() < deadline, "the policy never came into force"
            time.sleep(0.1)
        yield core


def refused(core: client.CoreV1Api, item: dict) -> str | None:
    """What the API server has against a pod; None when it would take it."""
    try:
        core.create_namespaced_pod("default", item, dry_run="All", field_validation="Strict")
    except client.ApiException as error:
        if error.status != 422:
            raise
        return str(error.body)
    return None


@pytest.mark.parametrize(("shape", "pool"), list(itertools.product(SHAPES, BY_NAME)), ids=str)
def test_the_api_server_takes_what_the_catalogue_admits_and_nothing_else(core, shape, pool):
    against = refused(core, pod_of(shape, pool))
    assert (against is None) is (refusals(shape, BY_NAME[pool]) == []), against
    assert against is None or "surge-gpu-shapes" in against
    assert against is None or "resulted in error" not in against


def parts(names: str, **more) -> list[dict]:
    return [container(name, limits(PART), **more) for name in names]


ACCEPTED = {
    "no GPU at all": {
        "metadata": {"generateName": "pod-"},
        "spec": {"containers": [{"name": "web", "image": "web"}]},
    },
    "no GPU among pairs": pod("pairs", {"name": "agent", "image": "agent"}),
    "a pair and a sidecar without GPU": pod("pairs", *parts("ab"), {"name": "log", "image": "log"}),
    "a whole GPU as HAMi's webhook leaves it": pod(
        "shared", container("worker", {"nvidia.com/gpu": "1", "nvidia.com/gpucores": "100"})
    ),
    "part of a card, spread": pod(
        "shared", *parts("a"), annotations={"hami.io/gpu-scheduler-policy": "spread"}
    ),
    "whole GPUs under the cluster's scheduler": pod(
        "gpu", container("worker", limits(Whole())), schedulerName="default-scheduler"
    ),
}
REFUSED = {
    "no pool": (
        {
            "metadata": {"generateName": "pod-"},
            "spec": {"containers": [container("worker", limits(Whole()))]},
        },
        "names no pool of this cluster: set nodeSelector surge.dev/pool to one of gpu, pairs, shared, wide",
    ),
    "a node by name": (pod("pairs", *parts("ab"), nodeName="pairs-0"), "remove nodeName"),
    "another scheduler": (
        pod("pairs", *parts("ab"), schedulerName="default-scheduler"),
        "set schedulerName hami-scheduler",
    ),
    "three containers": (pod("pairs", *parts("abc")), "leaves an odd slot"),
    "a pair and an init container": (pod("pairs", *parts("ab"), init=parts("c")), "leaves an odd slot"),
    "two parts among single containers": (pod("shared", *parts("ab")), "choose a pool of pairs"),
    "two bare GPUs": (
        pod("gpu", container("a", limits(Whole())), container("b", limits(Whole()))),
        "cannot share one",
    ),
    "memory in percent": (
        pod("shared", container("a", {"nvidia.com/gpu": "1", "nvidia.com/gpumem-percentage": "20"})),
        "remove other nvidia.com resources",
    ),
    "two cards with a part of each": (
        pod("shared", container("a", {**limits(PART), "nvidia.com/gpu": "2"})),
        "part of a card is nvidia.com/gpu 1",
    ),
    "a sidecar with a GPU": (
        pod("shared", *parts("a"), init=parts("b", restartPolicy="Always")),
        "make it an ordinary container",
    ),
    "a pair that spreads": (
        pod("pairs", *parts("ab"), annotations={"hami.io/gpu-scheduler-policy": "spread"}),
        "to binpack",
    ),
    "a pair of unknown policy": (pod("pairs", *parts("ab"), annotations={}), "to binpack"),
    "a pair with its own weights": (
        pod(
            "pairs",
            *parts("ab"),
            annotations={
                "hami.io/gpu-scheduler-policy": "binpack",
                "hami.io/device-scoring-weights": "slot=0",
            },
        ),
        "remove hami.io/device-scoring-weights",
    ),
    "a pair that wants a MIG instance": (
        pod(
            "pairs",
            *parts("ab"),
            annotations={"hami.io/gpu-scheduler-policy": "binpack", "nvidia.com/vgpu-mode": "mig"},
        ),
        "nvidia.com/vgpu-mode",
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_pod_that_harms_nobody_is_accepted(core, name):
    assert refused(core, ACCEPTED[name]) is None


@pytest.mark.parametrize("name", REFUSED)
def test_a_pod_past_the_arithmetic_is_refused_with_what_to_do(core, name):
    item, words = REFUSED[name]
    against = refused(core, item)
    assert against is not None
    assert words in against


@pytest.mark.parametrize("pools", [POOLS[:1], POOLS[:2], POOLS[2:]], ids=["whole", "shared", "pairs"])
def test_the_policy_of_any_set_of_pools_compiles(core, pools):
    policy, _ = guard_objects(pools, None)
    registration = client.AdmissionregistrationV1Api(core.api_client)
    policy["metadata"]["name"] = "another"
    registration.create_validating_admission_policy(policy, dry_run="All", field_validation="Strict")
