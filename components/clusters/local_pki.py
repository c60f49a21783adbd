"""Certificates of a local cluster: one authority for servers and clients, others for aggregation and etcd."""

import base64
import json
from collections.abc import Sequence

import pulumi

from providers.surge.resources import Authority, AuthorityArgs, Certificate, CertificateArgs
from surge.policy.control_plane import kubeconfig

__all__ = ["LocalPki"]

YEARS_10 = 3650


class LocalPki(pulumi.ComponentResource):
    """The authorities, and what they sign.

    A user is a client certificate: its common name is the user, its organizations are the groups.
    The aggregator's authority is a separate one: whoever holds a certificate of it may claim to be
    any user. So is etcd's: whoever holds a certificate of it reads every object, and no user shall.
    """

    def __init__(self, name: str, *, server: str, opts: pulumi.ResourceOptions | None = None) -> None:
        """server: the API server's address that kubeconfigs name, such as https://127.0.0.1:21002."""
        super().__init__("surge:cluster:LocalPki", name, None, opts)
        self._server = server
        self._name = name
        self.authority = self._authority("ca")
        self.front_proxy = self._authority("front-proxy-ca")
        self.etcd = self._authority("etcd-ca")
        # The API server reads the public half out of the certificate.
        self.service_accounts = self._authority("service-accounts")
        self.register_outputs({"certificate": self.authority.certificate})

    @property
    def authority_base64(self) -> pulumi.Output[str]:
        """As a caBundle wants it."""
        return self.authority.certificate.apply(_base64)

    def serve(self, name: str, *, dns_names: Sequence[str] = ("localhost",)) -> Certificate:
        """A server's certificate for loopback; it may be shown as a client's too (mTLS of a pair)."""
        return self._issue(
            f"serve-{name}",
            self.authority,
            common_name=name,
            usages=["server", "client"],
            dns_names=dns_names,
        )

    def aggregator(self) -> Certificate:
        return self._issue(
            "front-proxy-client", self.front_proxy, common_name="front-proxy-client", usages=["client"]
        )

    def etcd_server(self) -> Certificate:
        """Shown as a client's too: to its own gateway, by a peer, by the readiness probe."""
        return self._issue(
            "etcd", self.etcd, common_name="etcd", usages=["server", "client"], dns_names=["localhost"]
        )

    def etcd_client(self) -> Certificate:
        return self._issue("etcd-client", self.etcd, common_name="kube-apiserver", usages=["client"])

    def user(self, name: str, common_name: str, *, groups: Sequence[str] = ()) -> Certificate:
        return self._issue(
            f"user-{name}", self.authority, common_name=common_name, organizations=groups, usages=["client"]
        )

    def kubeconfig(self, user: Certificate) -> pulumi.Output[str]:
        """The kubeconfig of a user, as JSON (which is YAML), secret as it holds the key."""
        return pulumi.Output.secret(
            pulumi.Output.all(self.authority.certificate, user.certificate, user.private_key).apply(
                lambda pems: json.dumps(
                    kubeconfig(self._server, *(_base64(pem) for pem in pems), name=self._name), indent=1
                )
            )
        )

    def _authority(self, name: str) -> Authority:
        return Authority(
            f"{self._name}-{name}",
            AuthorityArgs(common_name=f"{self._name} {name}", validity_days=YEARS_10),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _issue(
        self,
        name: str,
        authority: Authority,
        *,
        common_name: str,
        usages: Sequence[str],
        organizations: Sequence[str] = (),
        dns_names: Sequence[str] = (),
    ) -> Certificate:
        server = "server" in usages
        return Certificate(
            f"{self._name}-{name}",
            CertificateArgs(
                authority_certificate=authority.certificate,
                authority_key=authority.private_key,
                common_name=common_name,
                organizations=list(organizations),
                dns_names=list(dns_names),
                ip_addresses=["127.0.0.1", "10.96.0.1"] if server else [],
                usages=list(usages),
                validity_days=YEARS_10,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )


def _base64(pem: str) -> str:
    return base64.b64encode(pem.encode()).decode()
