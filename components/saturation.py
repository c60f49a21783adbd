"""The saturation metric server, and how KEDA is allowed to read it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as k8s
import pulumi_random as random

from components.broker import BrokerOutputs
from components.clusters.local_host import LocalHost
from components.clusters.outputs import ClusterOutputs
from components.platform.keda import NAMESPACE as KEDA_NAMESPACE
from providers.surge.resources import Process, Ready
from surge.model import Filter
from surge.policy.demand import BETA, WINDOWS_S

__all__ = ["LocalSaturation", "LocalSaturationArgs", "SaturationOutputs"]

AUTHENTICATION = "saturation"

# From the HPA's word to a started pod, beside the warm-up.
SCHEDULING_S = 3.0


@dataclass(frozen=True, kw_only=True)
class SaturationOutputs:
    """url: without a trailing slash. authentication: name of the ClusterTriggerAuthentication for KEDA."""

    url: str
    token: pulumi.Output[str]
    authority: pulumi.Output[str]
    authentication: str
    ready: Sequence[pulumi.Resource]


@dataclass(frozen=True, kw_only=True)
class LocalSaturationArgs:
    """sample_s, stale_s: model seconds. keda: what KEDA's own objects need before they can be made."""

    host: LocalHost
    broker: BrokerOutputs
    filters: Sequence[Filter]
    sample_s: float
    stale_s: float
    cluster: ClusterOutputs
    keda: Sequence[pulumi.Resource]


class LocalSaturation(pulumi.ComponentResource):
    """The server as a process on loopback, over TLS, behind a bearer token."""

    def __init__(
        self, name: str, args: LocalSaturationArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("surge:saturation:Local", name, None, opts)
        self._name = name
        self._args = args
        token = random.RandomPassword(
            f"{name}-token", length=40, special=False, opts=pulumi.ResourceOptions(parent=self)
        ).result
        server = self._server(token)
        self.outputs = SaturationOutputs(
            url=self._url,
            token=token,
            authority=args.host.pki.authority.certificate,
            authentication=AUTHENTICATION,
            ready=[server, *self._trigger_authentication(token)],
        )
        self.register_outputs({"url": self._url})

    @property
    def _url(self) -> str:
        return f"https://127.0.0.1:{self._args.host.ports.saturation}"

    def _server(self, token: pulumi.Output[str]) -> Process:
        args, host = self._args, self._args.host
        serving = host.pki.serve("saturation")
        return host.process(
            "saturation",
            host.module("metrics_server", "--config", "{dir}/config.json"),
            environment=host.module_environment,
            files={
                "config.json": json.dumps(self._config(), indent=1),
                "tls.crt": serving.certificate,
                "tls.key": serving.private_key,
                "ca.crt": host.pki.authority.certificate,
                "tokens": token.apply(lambda value: value + "\n"),
            },
            live_files={"filters.json": json.dumps(filters_file(args.filters, host), indent=1)},
            listens=["saturation"],
            ready=Ready(http=f"{self._url}/healthz", ca_file="{dir}/ca.crt"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[args.broker.topology]),
        )

    def _config(self) -> dict[str, object]:
        args, scale = self._args, self._args.host.scale
        return {
            "listen": {
                "host": "127.0.0.1",
                "port": args.host.ports.saturation,
                "certificate": "tls.crt",
                "key": "tls.key",
            },
            "token_file": "tokens",
            "broker": {"nodes": list(args.broker.metrics), "vhost": args.broker.vhost},
            "sample_s": scale.wall(args.sample_s),
            "stale_s": scale.wall(args.stale_s),
            "windows_s": [scale.wall(window) for window in WINDOWS_S],
            "filters_file": "filters.json",
        }

    def _trigger_authentication(self, token: pulumi.Output[str]) -> list[pulumi.Resource]:
        child = self._args.cluster.child_of(self, self._args.keda)
        secret = k8s.core.v1.Secret(
            f"{self._name}-token",
            metadata={"name": "saturation-token", "namespace": KEDA_NAMESPACE},
            string_data={"token": token},
            opts=child,
        )
        authentication = k8s.apiextensions.CustomResource(
            f"{self._name}-authentication",
            api_version="keda.sh/v1alpha1",
            kind="ClusterTriggerAuthentication",
            metadata={"name": AUTHENTICATION},
            spec={"secretTargetRef": [{"parameter": "token", "name": "saturation-token", "key": "token"}]},
            opts=child,
        )
        return [secret, authentication]


def filters_file(filters: Sequence[Filter], host: LocalHost) -> dict[str, object]:
    """What the server needs to know of each filter; seconds are wall seconds here."""
    return {
        "filters": [
            {
                "name": item.name,
                "queue": item.queue,
                "slots": item.slots,
                "service_s": host.scale.wall(item.service_s),
                "drain_s": host.scale.wall(item.drain_s),
                "lead_s": host.scale.wall(item.warmup_s + SCHEDULING_S),
                "beta": BETA[item.service_class],
            }
            for item in filters
        ]
    }
