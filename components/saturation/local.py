"""The saturation server on a local cluster: a process on loopback, over TLS, behind a bearer token."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_random as random

from components.broker import BrokerOutputs
from components.clusters.local_host import LocalHost
from components.clusters.outputs import ClusterOutputs
from components.saturation.keda import AUTHENTICATION, trigger_authentication
from components.saturation.outputs import SaturationOutputs
from components.saturation.settings import ServerSettings
from providers.surge.resources import Process, Ready
from surge.model import Filter

__all__ = ["LocalSaturation", "LocalSaturationArgs"]


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
    """KEDA finds the server's authority in its --ca-dir, so a token is all that a trigger shows."""

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
        readers = trigger_authentication(name, {"token": token}, opts=args.cluster.child_of(self, args.keda))
        self.outputs = SaturationOutputs(
            url=self._url,
            token=token,
            authority=args.host.pki.authority.certificate,
            authentication=AUTHENTICATION,
            auth_modes="bearer",
            ready=[server, *readers],
        )
        self.register_outputs({"url": self._url})

    @property
    def _url(self) -> str:
        return f"https://127.0.0.1:{self._args.host.ports.saturation}"

    def _server(self, token: pulumi.Output[str]) -> Process:
        args, host = self._args, self._args.host
        settings = ServerSettings(
            filters=args.filters,
            nodes=args.broker.metrics,
            vhost=args.broker.vhost,
            sample_s=args.sample_s,
            stale_s=args.stale_s,
            scale=host.scale,
            amqp=[f"amqp://{args.broker.amqp}"],
        )
        config = settings.config(host="127.0.0.1", port=host.ports.saturation, grace_s=1)
        serving = host.pki.serve("saturation")
        return host.process(
            "saturation",
            host.module("metrics_server", "--config", "{dir}/config.json"),
            environment=host.module_environment,
            files={
                "config.json": config,
                "tls.crt": serving.certificate,
                "tls.key": serving.private_key,
                "ca.crt": host.pki.authority.certificate,
                "tokens": token.apply(lambda value: value + "\n"),
                "credentials": args.broker.passwords["saturation"].apply(
                    lambda password: f"{args.broker.users['saturation']}:{password}\n"
                ),
            },
            live_files={"filters.json": settings.filters_file()},
            listens=["saturation"],
            ready=Ready(http=f"{self._url}/healthz", ca_file="{dir}/ca.crt"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[args.broker.topology]),
        )
