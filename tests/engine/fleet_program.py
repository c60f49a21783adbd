"""A program with nothing but a fleet of filters on a cluster, and what it needs from others."""

import json
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components.clusters.local_node_pool import by_name
from components.clusters.outputs import ClusterOutputs
from components.fleet import Fleet, FleetArgs, filter_services, shared_by
from components.saturation import SaturationOutputs
from surge.model import Filter, Settings, services
from tests.engine.recording import Recorded, RecordingMonitor

__all__ = ["POOLS", "fleet", "manifests", "settings"]

# How the engine's wire marks a secret.
SECRET = "4dabf18193072939515e22adb298388d"

POOLS = {"shared": {"kind": "shared", "nodes": 1}, "pairs": {"kind": "pairs", "nodes": 1, "slots": 4}}


def settings(**sections: Any) -> Settings:
    """Of a cluster with a pool of every kind. sections: of the settings, in kebab-case."""
    given = {"stack-kind": "onprem", "cluster": {"name": "one", "nodes": 36, "pools": POOLS}}
    return Settings.parse({**given, **{key.replace("_", "-"): value for key, value in sections.items()}})


def fleet(
    filters: Sequence[Filter], given: Settings | None = None, *, version: tuple[int, int] = (1, 36)
) -> Callable[[], Fleet]:
    chosen = given or settings()

    def run() -> Fleet:
        cluster = _cluster(chosen, version)
        broker = SimpleNamespace(urls={"worker": pulumi.Output.secret("amqp://broker")})
        args = FleetArgs(
            cluster=cluster, broker=broker, filters=filters, models=chosen.workers.models, ready=[]
        )
        made = Fleet("one", args)
        filter_services(services(filters), shared_by(chosen, cluster, _saturation()), ready=made.ready)
        return made

    return run


def manifests(recorded: RecordingMonitor) -> list[dict[str, Any]]:
    """The objects that the engine would send: secrets unwrapped, whole numbers whole again."""
    return [_manifest(item) for item in recorded.resources.values() if item.token.startswith("kubernetes:")]


def _manifest(item: Recorded) -> dict[str, Any]:
    return json.loads(
        json.dumps(item.inputs),
        object_hook=lambda part: part["value"] if SECRET in part else part,
        parse_float=lambda number: int(value) if (value := float(number)).is_integer() else value,
    )


def _cluster(chosen: Settings, version: tuple[int, int]) -> ClusterOutputs:
    provider = k8s.Provider("one-kubernetes")
    return ClusterOutputs(
        name="one",
        kubeconfig=pulumi.Output.from_input("{}"),
        kubernetes=provider,
        ready=[],
        node_pools=by_name(chosen.cluster.gpu_pools),
        storage_class=None,
        load_balancer_address="192.0.2.1",
        lifeline=provider,
        version=version,
    )


def _saturation() -> SaturationOutputs:
    return SaturationOutputs(
        url="https://saturation.surge.svc:8443",
        token=pulumi.Output.secret("token"),
        authority=pulumi.Output.from_input("authority"),
        authentication="saturation",
        auth_modes="bearer",
        ready=[],
    )
