"""A shard's stack: some filters of a fleet, on the cluster that another stack has made."""

from collections.abc import Collection, Mapping
from typing import Any

import pulumi

from components.clusters.local import VERSION
from components.clusters.local_node_pool import by_name
from components.clusters.outputs import ClusterOutputs, kubernetes_provider
from components.fleet import filter_services, shared_by
from components.saturation import SaturationOutputs
from surge.model import Catalogue, Settings, Shard, services
from surge.policy.shards import shard_of

__all__ = ["build_shard"]


def build_shard(
    settings: Settings, catalogue: Catalogue, shard: Shard, only: Collection[str] | None = None
) -> None:
    """Declare the services of the shard's filters, and export which they are.

    only: of an operation that is confined to these services. Secrets come from the base stack's outputs,
    and stay secrets.
    """
    # `require_output` would make an Output of every number of every filter before it gives one key.
    base = pulumi.StackReference(
        "base", stack_name=f"{pulumi.get_organization()}/{pulumi.get_project()}/{shard.base}"
    ).outputs
    cluster = _cluster(settings, base)
    filters = [
        item
        for item in services(catalogue.filters)
        if item.runs_at(settings.place) and shard_of(item.name, shard.shards) == shard.index
    ]
    declared = [item for item in filters if only is None or item.name in only]
    shared = shared_by(settings, cluster, _saturation(shard, base))
    filter_services(declared, shared, digests=shard.services)
    pulumi.export("filters", [item.name for item in filters])


def _cluster(settings: Settings, base: pulumi.Output[Mapping[str, Any]]) -> ClusterOutputs:
    name = settings.cluster.name
    kubeconfig = pulumi.Output.secret(base.apply(lambda outputs: outputs["cluster"]["kubeconfig"]))
    return ClusterOutputs(
        name=name,
        kubeconfig=kubeconfig,
        # What an update made before it was killed is its own; nobody else makes Deployments of these names,
        # and `surge fleet` refuses to run while two stacks hold one filter.
        kubernetes=kubernetes_provider(name, kubeconfig, takes_over=True),
        ready=[],
        node_pools=by_name(settings.cluster.gpu_pools),
        storage_class=None,
        load_balancer_address="",
        lifeline=None,
        version=VERSION,
    )


def _saturation(shard: Shard, base: pulumi.Output[Mapping[str, Any]]) -> SaturationOutputs:
    access = pulumi.Output.secret(base.apply(lambda outputs: outputs["access"]))
    return SaturationOutputs(
        url=shard.saturation.url,
        token=access.apply(lambda it: it["saturation_token"]),
        authority=access.apply(lambda it: it["saturation_ca"]),
        authentication=shard.saturation.authentication,
        auth_modes=shard.saturation.auth_modes,
        ready=[],
    )
