"""A whole stack: one cluster and what is on it."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pulumi

from components.broker import BrokerOutputs, LocalBroker, LocalBrokerArgs
from components.clusters.local import LocalCluster, LocalClusterArgs
from components.clusters.local_workers import LocalWorkers, LocalWorkersArgs
from components.fleet import NAMESPACE, Fleet, FleetArgs, filter_services, shared_by
from components.monitored import alert_rules
from components.platform.gpu_guard import GpuGuard, GpuGuardArgs
from components.platform.keda import LocalKeda, LocalKedaArgs
from components.platform.prometheus import LocalPrometheus, LocalPrometheusArgs
from components.saturation import LocalSaturation, LocalSaturationArgs, SaturationOutputs
from components.scale_in import LocalScaleIn, LocalScaleInArgs
from components.shard import build_shard
from components.verifier import LocalVerifier, LocalVerifierArgs
from surge.model import Catalogue, Filter, Settings, Shard, services, worker_sets

__all__ = ["NotAvailableError", "build"]


class NotAvailableError(Exception):
    """The settings name a kind of stack that this version cannot build."""


def build(
    settings: Settings,
    catalogue: Catalogue,
    *,
    root: Path,
    shards: int = 1,
    shard: Shard | None = None,
) -> None:
    """Declare every resource of the stack and export its outputs. root: the checkout's folder.

    shards: stacks that hold the filters' services; 1 is this one, with more it has all but those.
    shard: build this shard, and nothing else.

    Raises NotAvailableError for kinds that are not there yet.
    """
    if settings.stack_kind != "local":
        raise NotAvailableError(MISSING[settings.stack_kind])
    if shard is not None:
        build_shard(settings, catalogue, shard)
    else:
        _local(settings, catalogue, root, shards)


MISSING = {
    "onprem": "a stack of kind onprem is not available yet: hosts over SSH, external etcd, kubeadm and the "
    "platform's charts are missing. `surge up local` runs the whole loop on this machine.",
    "aws": "a stack of kind aws is not available yet: EKS, its node groups and the platform's charts are "
    "missing. `surge up local` runs the whole loop on this machine.",
    "burst": "a stack of kind burst is not available yet: the burst controller and the link to the central "
    "broker are missing. `surge up local` runs the whole loop on this machine.",
}


def _local(settings: Settings, catalogue: Catalogue, root: Path, shards: int) -> None:
    name = settings.cluster.name
    here = [item for item in catalogue.filters if item.runs_at(settings.place)]
    cluster = LocalCluster(name, _local_cluster(settings, root))
    host, outputs = cluster.host, cluster.outputs
    broker = LocalBroker(
        name, LocalBrokerArgs(host=host, filters=catalogue.filters, settings=settings.broker)
    )
    guard = GpuGuard(name, GpuGuardArgs(cluster=outputs))
    keda = LocalKeda(name, LocalKedaArgs(host=host, cluster=outputs))
    saturation = LocalSaturation(
        name,
        LocalSaturationArgs(
            host=host,
            cluster=outputs,
            broker=broker.outputs,
            filters=catalogue.filters,
            sample_s=settings.saturation.sample_s,
            stale_s=settings.saturation.stale_s,
            keda=[*keda.definitions, keda.namespace],
        ),
    )
    prometheus = LocalPrometheus(
        name,
        LocalPrometheusArgs(
            host=host,
            cluster=outputs,
            scrape_s=settings.prometheus.scrape_s,
            retention=settings.prometheus.retention,
            rules=[alert_rules(subject) for subject in _watched(settings)],
        ),
    )
    LocalVerifier(name, LocalVerifierArgs(host=host, cluster=outputs))
    workers = LocalWorkers(
        name,
        LocalWorkersArgs(
            host=host, cluster=outputs, namespace=NAMESPACE, depends_on=[broker.outputs.topology]
        ),
    )
    fleet = Fleet(
        name,
        FleetArgs(
            cluster=outputs,
            broker=broker.outputs,
            filters=here,
            models=settings.workers.models,
            ready=[*outputs.ready, *guard.ready, *keda.ready, *saturation.outputs.ready, workers.process],
        ),
    )
    if settings.scale_in.idle_first:
        LocalScaleIn(
            name,
            LocalScaleInArgs(
                host=host,
                cluster=outputs,
                broker=broker.outputs,
                filters=here,
                namespace=NAMESPACE,
                settings=settings,
                depends_on=[broker.outputs.topology, *fleet.ready],
            ),
        )
    if shards == 1:
        filter_services(services(here), shared_by(settings, outputs, saturation.outputs), ready=fleet.ready)
    pulumi.export("cluster", {"name": name, "directory": host.directory, "kubeconfig": cluster.kubeconfig})
    _export_access(broker.outputs, saturation.outputs, prometheus)
    _export_fleet(settings, here, shards, saturation.outputs)


def _watched(settings: Settings) -> list[str]:
    return ["saturation", "pairs", *(["scale-in"] if settings.scale_in.idle_first else [])]


def _local_cluster(settings: Settings, root: Path) -> LocalClusterArgs:
    cluster = settings.cluster
    return LocalClusterArgs(
        directory=str(root / ".surge" / "clusters" / cluster.name),
        tools=str(root / ".tools" / "bin"),
        python=sys.executable,
        source=str(root),
        base_port=cluster.base_port,
        pools=cluster.gpu_pools,
        hpa_sync_s=cluster.hpa_sync_s,
        scale=settings.time_scale,
    )


def _export_access(broker: BrokerOutputs, saturation: SaturationOutputs, prometheus: LocalPrometheus) -> None:
    pulumi.export(
        "endpoints",
        {
            "prometheus": prometheus.url,
            "saturation": saturation.url,
            "management": broker.management,
            "amqp": broker.amqp,
        },
    )
    pulumi.export(
        "access",
        pulumi.Output.secret(
            {
                "saturation_token": saturation.token,
                "saturation_ca": saturation.authority,
                "publisher_url": broker.urls["publisher"],
                "admin_password": broker.passwords["admin"],
            }
        ),
    )


def _export_fleet(
    settings: Settings, filters: Sequence[Filter], shards: int, saturation: SaturationOutputs
) -> None:
    told = {
        "url": saturation.url,
        "authentication": saturation.authentication,
        "auth-modes": saturation.auth_modes,
    }
    pulumi.export("fleet", {"shards": shards, "saturation": told})
    # As text: each shard's engine and program would carry it number by number.
    pulumi.export(
        "filters", json.dumps({item.name: _summary(item) for item in [*filters, *worker_sets(filters)]})
    )
    pulumi.export("time_factor", settings.time_factor)
    pulumi.export("hpa_sync_s", settings.cluster.hpa_sync_s)


def _summary(item: Filter) -> dict[str, object]:
    home = item.worker_set if item.worker_set != item.name else None
    return {
        **({} if home is None else {"worker_set": home}),
        "signal": item.signal,
        "min": item.min,
        "max": item.max,
        "queue": item.queue,
        "slots": item.slots,
        "runs_as_jobs": item.runs_as_jobs,
        "service_s": item.service_s,
        "warmup_s": item.warmup_s,
        "slo_s": item.slo_s,
    }
