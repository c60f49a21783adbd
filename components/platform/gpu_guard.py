"""The API server refuses pods that would strand a GPU or split a pair, whoever makes them."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.clusters.outputs import ClusterOutputs
from components.manifests import apply
from surge.policy.gpu import guard_objects

__all__ = ["GpuGuard", "GpuGuardArgs"]


@dataclass(frozen=True, kw_only=True)
class GpuGuardArgs:
    cluster: ClusterOutputs


class GpuGuard(pulumi.ComponentResource):
    """ready: what stands before the first pod with a GPU is made."""

    def __init__(self, name: str, args: GpuGuardArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("surge:platform:GpuGuard", name, None, opts)
        pools = args.cluster.node_pools.values()
        # One HAMi serves all pools of a cluster.
        scheduler = next((each.scheduler for each in pools if each.scheduler), None)
        objects = guard_objects([each.pool for each in pools], scheduler)
        self.ready: Sequence[pulumi.Resource] = apply(name, objects, opts=args.cluster.child_of(self))
        self.register_outputs({})
