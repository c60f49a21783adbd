"""A program with nothing but the saturation server of a real cluster, and what it needs from others."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components.clusters.outputs import ClusterOutputs
from components.saturation import SaturationServer, SaturationServerArgs
from components.saturation.settings import ServerSettings
from surge.model import Catalogue, Saturation
from surge.policy.timescale import TimeScale

__all__ = ["IMAGE", "cluster", "program", "settings"]

ROOT = Path(__file__).parents[2]
IMAGE = f"registry.example/surge/saturation@sha256:{'0' * 64}"


def settings(**changes: Any) -> ServerSettings:
    usual = ServerSettings(
        filters=Catalogue.read(ROOT / "filters.yaml").filters,
        nodes=["http://broker-0.broker.rabbitmq.svc:15692", "http://broker-1.broker.rabbitmq.svc:15692"],
        vhost="surge",
        sample_s=Saturation().sample_s,
        stale_s=Saturation().stale_s,
        scale=TimeScale(),
    )
    return replace(usual, **changes)


def program(**changes: Any) -> Callable[[], SaturationServer]:
    """changes: to SaturationServerArgs."""

    def run() -> SaturationServer:
        usual: dict[str, Any] = {
            "cluster": cluster(),
            "image": IMAGE,
            "settings": settings(),
            "broker": [{"namespace_selector": {"match_labels": {"kubernetes.io/metadata.name": "rabbitmq"}}}],
            "keda": [],
            "monitors": [],
        }
        return SaturationServer("one", SaturationServerArgs(**{**usual, **changes}))

    return run


def cluster() -> ClusterOutputs:
    provider = k8s.Provider("one-kubernetes")
    return ClusterOutputs(
        name="one",
        kubeconfig=pulumi.Output.from_input("{}"),
        kubernetes=provider,
        ready=[],
        node_pools={},
        storage_class=None,
        load_balancer_address="192.0.2.1",
        lifeline=provider,
    )
