"""The saturation server on a real cluster: everything it needs to run, to be read and to be watched."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as k8s
import pulumi_random as random

from components.clusters.outputs import ClusterOutputs
from components.monitored import (
    DNS,
    Peer,
    in_namespace,
    network_policy,
    prometheus,
    to_broker,
    told_to_prometheus,
)
from components.platform.keda import NAMESPACE as KEDA_NAMESPACE
from components.saturation import pods
from components.saturation.keda import AUTHENTICATION, trigger_authentication
from components.saturation.outputs import SaturationOutputs
from components.saturation.settings import ServerSettings
from providers.surge.resources import Authority, AuthorityArgs, Certificate, CertificateArgs
from surge.model.filter import image_by_digest

__all__ = ["NAMESPACE", "SaturationServer", "SaturationServerArgs"]

NAMESPACE = "surge"
HOST = f"{pods.NAME}.{NAMESPACE}.svc"
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 -- a pod's own is not known before; the NetworkPolicy closes the rest


@dataclass(frozen=True, kw_only=True)
class SaturationServerArgs:
    """image: by digest. broker: where the broker's pods or addresses are, as NetworkPolicy peers.

    replicas: each reads the broker on its own, so one may go at any time. accepted_tokens, used_token:
    generations; to rotate: accept the next one beside the old, a minute later use it, a minute later
    accept it alone. keda, monitors: what KEDA's and Prometheus' own objects need before they can be made.
    authority_in_keda: the operator has our authority in its --ca-dir, so its ScaledObjects share connections.
    broker_credentials: `user:password`, for settings with `amqp` or `management`; broker_authority: PEM, for
    settings with `own_authority`.

    Raises ValueError for an image by tag, for tokens that would lock KEDA out, and for settings that do
    not go with the broker's credentials or authority.
    """

    cluster: ClusterOutputs
    image: str
    settings: ServerSettings
    broker: Sequence[Peer]
    keda: Sequence[pulumi.Resource]
    monitors: Sequence[pulumi.Resource]
    monitoring_namespace: str = "monitoring"
    replicas: int = 2
    accepted_tokens: Sequence[int] = (1,)
    used_token: int = 1
    authority_in_keda: bool = False
    broker_credentials: pulumi.Input[str] | None = None
    broker_authority: pulumi.Input[str] | None = None

    def __post_init__(self) -> None:
        image_by_digest(self.image)
        if self.replicas < 2:
            raise ValueError(
                f"replicas={self.replicas}: nothing scales while the server's node is drained; want 2 or more"
            )
        if self.used_token not in self.accepted_tokens or len(self.accepted_tokens) > 2:
            raise ValueError(
                f"KEDA would use token {self.used_token} of accepted {list(self.accepted_tokens)}: want one "
                "accepted token, or two while one replaces the other, and the used one among them"
            )
        if self.settings.needs_credentials != (self.broker_credentials is not None):
            raise ValueError(
                "broker_credentials and settings.amqp or .management: want all or none; the server logs in "
                "with the credentials where it has AMQP or management URLs, and nowhere else"
            )
        if self.settings.own_authority != (self.broker_authority is not None):
            raise ValueError(
                "broker_authority and settings.own_authority: want both or none; the server would refuse the "
                "broker's certificate"
            )

    @property
    def files(self) -> dict[str, pulumi.Input[str]]:
        """What the pods read beside the settings and is no secret."""
        return {} if self.broker_authority is None else {"broker-ca.crt": self.broker_authority}

    @property
    def secret_files(self) -> dict[str, pulumi.Input[str]]:
        return {} if self.broker_credentials is None else {"credentials": self.broker_credentials}


class SaturationServer(pulumi.ComponentResource):
    """Two or more pods behind one Service, over TLS, behind a bearer token.

    KEDA finds our authority in its ClusterTriggerAuthentication, so nothing is mounted into KEDA. The price
    is a connection per ScaledObject (131 MiB at 1,200, not 57 MiB), unless `authority_in_keda` is set.
    """

    def __init__(
        self, name: str, args: SaturationServerArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("surge:saturation:Server", name, None, opts)
        self._name = name
        self._args = args
        self._child = args.cluster.child_of(self)
        self.namespace = k8s.core.v1.Namespace(
            f"{name}-{NAMESPACE}",
            metadata={
                "name": NAMESPACE,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
            opts=self._child,
        )
        self._inside = args.cluster.child_of(self, [self.namespace])
        tokens = {number: self._token(number) for number in sorted(args.accepted_tokens)}
        self._authority = Authority(
            f"{name}-saturation-ca",
            AuthorityArgs(common_name=f"{name} saturation"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        serving = self._server(tokens)
        self._watched()
        url = f"https://{HOST}:{pods.PORT}"
        self.outputs = SaturationOutputs(
            url=url,
            token=tokens[args.used_token],
            authority=self._authority.certificate,
            authentication=AUTHENTICATION,
            auth_modes="bearer" if args.authority_in_keda else "bearer,tls",
            ready=[*serving, *self._readers(tokens[args.used_token])],
        )
        self.register_outputs({"url": url})

    def _token(self, generation: int) -> pulumi.Output[str]:
        return random.RandomPassword(
            f"{self._name}-token-{generation}",
            length=40,
            special=False,
            opts=pulumi.ResourceOptions(parent=self),
        ).result

    def _issue(self, usage: str, common_name: str, dns_names: Sequence[str] = ()) -> Certificate:
        return Certificate(
            f"{self._name}-saturation-{usage}",
            CertificateArgs(
                authority_certificate=self._authority.certificate,
                authority_key=self._authority.private_key,
                common_name=common_name,
                dns_names=list(dns_names),
                usages=[usage],
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _server(self, tokens: dict[int, pulumi.Output[str]]) -> list[pulumi.Resource]:
        name, settings = self._name, self._args.settings
        config = settings.config(host=EVERY_ADDRESS, port=pods.PORT, grace_s=pods.GRACE_S)
        certificate = self._issue("server", pods.NAME, [HOST, f"{HOST}.cluster.local"])
        files = k8s.core.v1.ConfigMap(
            f"{name}-saturation",
            metadata=self._metadata(),
            data={
                "config.json": config,
                "filters.json": settings.filters_file(),
                "ca.crt": self._authority.certificate,
                **self._args.files,
            },
            opts=self._inside,
        )
        secret = k8s.core.v1.Secret(
            f"{name}-saturation",
            metadata=self._metadata(),
            string_data={
                "tls.crt": certificate.certificate,
                "tls.key": certificate.private_key,
                "tokens": pulumi.Output.all(*tokens.values()).apply(lambda each: "\n".join(each) + "\n"),
                **self._args.secret_files,
            },
            opts=self._inside,
        )
        service = k8s.core.v1.Service(
            f"{name}-saturation", metadata=self._metadata(), spec=pods.service(), opts=self._inside
        )
        k8s.policy.v1.PodDisruptionBudget(
            f"{name}-saturation",
            metadata=self._metadata(),
            spec={"max_unavailable": 1, "selector": {"match_labels": pods.LABELS}},
            opts=self._inside,
        )
        workload = k8s.apps.v1.Deployment(
            f"{name}-saturation",
            metadata=self._metadata(),
            spec=pods.deployment(
                self._args.image,
                self._args.replicas,
                config,
                files=["config.json", "filters.json", *self._args.files],
                secret_files=["tls.crt", "tls.key", "tokens", *self._args.secret_files],
            ),
            opts=self._args.cluster.child_of(self, [files, secret]),
        )
        # Beside one another: a Service is awaited until it has a pod.
        return [service, workload]

    def _watched(self) -> None:
        args, name = self._args, self._name
        servers = [*args.settings.nodes, *args.settings.management, *args.settings.amqp]
        k8s.networking.v1.NetworkPolicy(
            f"{name}-saturation",
            metadata=self._metadata(),
            spec=network_policy(
                pods.LABELS,
                "https",
                readers=[in_namespace(KEDA_NAMESPACE), prometheus(args.monitoring_namespace)],
                egress=[to_broker(args.broker, servers), DNS],
            ),
            opts=self._inside,
        )
        tls = {"ca": {"configMap": {"name": pods.NAME, "key": "ca.crt"}}, "serverName": HOST}
        told_to_prometheus(
            f"{name}-saturation",
            self._metadata(),
            labels=pods.LABELS,
            endpoint={"port": "https", "scheme": "https", "tlsConfig": tls},
            alerts="saturation",
            opts=args.cluster.child_of(self, [self.namespace, *args.monitors]),
        )

    def _readers(self, token: pulumi.Output[str]) -> list[pulumi.Resource]:
        parameters = {"token": token}
        if not self._args.authority_in_keda:
            client = self._issue("client", "keda")
            parameters |= {
                "ca": self._authority.certificate,
                "cert": client.certificate,
                "key": client.private_key,
            }
        child = self._args.cluster.child_of(self, self._args.keda)
        return trigger_authentication(self._name, parameters, opts=child)

    def _metadata(self) -> k8s.meta.v1.ObjectMetaArgsDict:
        return {"name": pods.NAME, "namespace": NAMESPACE, "labels": pods.LABELS}
