"""What every kind of cluster hands to the platform and the filters on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as k8s

from surge.policy.gpu import Pool

__all__ = ["ClusterOutputs", "NodePool", "kubernetes_provider"]


@dataclass(frozen=True, kw_only=True)
class NodePool:
    """Nodes of one kind, and what a pod must say to land on them.

    scheduler: who puts pods on its cards; None for the cluster's own scheduler.
    zoned: every node says which zone it is in.
    """

    pool: Pool
    labels: Mapping[str, str]
    tolerations: Sequence[k8s.core.v1.TolerationArgsDict] = ()
    scheduler: str | None = None
    zoned: bool = False


@dataclass(frozen=True, kw_only=True)
class ClusterOutputs:
    """kubernetes: the provider that every object on this cluster is given.

    ready: resources without which nothing can be scheduled; what needs running pods depends on them.
    lifeline: when this one goes, every object on the cluster is gone with it; None in another stack.
    version: of its API server, as far as it is known; what came with a later one is not used.
    """

    name: str
    kubeconfig: pulumi.Output[str]
    kubernetes: k8s.Provider
    ready: Sequence[pulumi.Resource]
    node_pools: Mapping[str, NodePool]
    storage_class: str | None
    load_balancer_address: str
    lifeline: pulumi.Resource | None
    version: tuple[int, int] = (1, 34)

    def child_of(
        self, parent: pulumi.Resource, depends_on: Sequence[pulumi.Resource] = ()
    ) -> pulumi.ResourceOptions:
        """Options for an object on this cluster."""
        return pulumi.ResourceOptions(
            parent=parent, provider=self.kubernetes, depends_on=list(depends_on), deleted_with=self.lifeline
        )


def kubernetes_provider(
    name: str,
    kubeconfig: pulumi.Input[str],
    opts: pulumi.ResourceOptions | None = None,
    *,
    takes_over: bool | None = None,
) -> k8s.Provider:
    """The provider for objects on cluster `name`: of one name in every stack, so that they can be moved.

    takes_over: an object that is there already is updated instead of refused.
    """
    return k8s.Provider(
        f"{name}-kubernetes",
        kubeconfig=kubeconfig,
        cluster_identifier=name,
        # A Secret that changes is updated in place, as workers have it mounted.
        enable_secret_mutable=True,
        # `pulumi refresh` must find a killed API server, not fail on it.
        skip_update_unreachable=True,
        upsert_existing_objects=takes_over,
        opts=opts,
    )
