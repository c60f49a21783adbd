"""The simulated nodes of a pool: what they are called, what they keep away, what they claim to have."""

from collections.abc import Sequence

import pulumi_kubernetes as k8s

from components.clusters.outputs import NodePool
from surge.policy.gpu import Pool, protocol

__all__ = ["ZONE", "annotations", "by_name", "labels", "taint", "zone"]

POOL = "surge.dev/pool"
ZONE = "topology.kubernetes.io/zone"
ZONES = 3


def by_name(pools: Sequence[Pool]) -> dict[str, NodePool]:
    return {pool.name: _outputs(pool) for pool in pools}


def _outputs(pool: Pool) -> NodePool:
    tolerations: list[k8s.core.v1.TolerationArgsDict] = [
        {"key": POOL, "operator": "Equal", "value": pool.name, "effect": "NoSchedule"}
    ]
    return NodePool(
        pool=pool,
        labels={POOL: pool.name},
        tolerations=() if pool.kind == "whole" else tolerations,
        scheduler=None if pool.kind == "whole" else protocol.SCHEDULER,
        zoned=True,
    )


def zone(number: int) -> str:
    """The zone of a pool's node by its number: as in a cloud, a pool lies in several."""
    return f"local-{'abc'[number % ZONES]}"


def labels(pool: Pool) -> dict[str, str]:
    hami = {} if pool.kind == "whole" else {"gpu": "on"}
    return {POOL: pool.name, **hami}


def taint(pool: Pool) -> k8s.core.v1.TaintArgsDict:
    """Pods of other pools would take slots that the arithmetic counts on."""
    return {"key": POOL, "value": pool.name, "effect": "NoSchedule"}


def annotations(node: str, pool: Pool) -> dict[str, str]:
    """For kwok's stage, what the node has; for HAMi, its cards as HAMi's device plugin registers them."""
    own = {"lab.surge.dev/gpus": str(pool.cards_per_node * pool.slots)}
    if pool.kind == "whole":
        return own
    return {
        **own,
        "lab.surge.dev/gpumem": str(pool.cards_per_node * pool.card_mib),
        "lab.surge.dev/gpucores": str(pool.cards_per_node * 100),
        protocol.REGISTER: protocol.registration(node, pool),
    }
