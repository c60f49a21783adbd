"""What a program writes to use the provider: a class per resource, and its arguments.

Arguments travel under their Python names; no camel case in between.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import pulumi
from pulumi import Input, Output

__all__ = [
    "Authority",
    "AuthorityArgs",
    "Certificate",
    "CertificateArgs",
    "Process",
    "ProcessArgs",
    "Ready",
    "Topology",
    "TopologyArgs",
]

# Named in no resource's options: with a version there, the engine would look for a plugin to download.
VERSION = "0.1.0"


@dataclass(frozen=True, kw_only=True)
class Ready:
    """When a process counts as up: exactly one of http (URL), tcp (host:port), exec (argument list).

    ca_file, certificate_file, key_file: for an https URL; {dir} and {root} are filled in as in ProcessArgs.
    """

    http: Input[str] | None = None
    ca_file: Input[str] | None = None
    certificate_file: Input[str] | None = None
    key_file: Input[str] | None = None
    expect_status: Input[int] = 200
    tcp: Input[str] | None = None
    exec: Input[Sequence[Input[str]]] | None = None
    timeout_s: Input[float] = 60
    interval_s: Input[float] = 0.2


@dataclass(frozen=True, kw_only=True)
class ProcessArgs:
    """A process to keep running under the supervisor of `directory` (absolute).

    process: its name and the name of its folder there; the resource's own name unless given.
    files: written 0600 below the process's folder before it starts; a change restarts the process.
    live_files: the same, but a change does not restart it (the program watches them).
    In command, environment, files and probes {dir} is that folder and {root} is `directory`.
    ports: loopback ports that must be free before the start.
    restart: always, on-failure or never.
    """

    directory: Input[str]
    command: Input[Sequence[Input[str]]]
    process: Input[str] | None = None
    environment: Input[Mapping[str, Input[str]]] = field(default_factory=dict)
    files: Input[Mapping[str, Input[str]]] = field(default_factory=dict)
    live_files: Input[Mapping[str, Input[str]]] = field(default_factory=dict)
    ports: Input[Sequence[Input[int]]] = ()
    ready: Ready | None = None
    restart: Input[str] = "always"
    stop_signal: Input[str] = "TERM"
    stop_timeout_s: Input[int] = 20
    log_max_bytes: Input[int] = 10_000_000


class Process(pulumi.CustomResource):
    """A supervised process that outlives the engine. running: as last seen; log: path of its output."""

    running: Output[bool]
    log: Output[str]

    def __init__(self, name: str, args: ProcessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("surge:local:Process", name, _properties(args, "running", "log"), opts)


@dataclass(frozen=True, kw_only=True)
class AuthorityArgs:
    """path_length: authorities allowed below this one. key_algorithm: ecdsa-p256 or rsa-2048."""

    common_name: Input[str]
    organizations: Input[Sequence[Input[str]]] = ()
    path_length: Input[int] = 0
    validity_days: Input[int] = 3650
    renew_before_days: Input[int] = 30
    key_algorithm: Input[str] = "ecdsa-p256"


class Authority(pulumi.CustomResource):
    """A self-signed certificate authority; certificate and private key (secret) are PEM."""

    certificate: Output[str]
    private_key: Output[str]
    not_after: Output[str]

    def __init__(self, name: str, args: AuthorityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("surge:pki:Authority", name, _properties(args, *ISSUED), _key_secret(opts))


@dataclass(frozen=True, kw_only=True)
class CertificateArgs:
    """usages: server, client or both."""

    authority_certificate: Input[str]
    authority_key: Input[str]
    common_name: Input[str]
    usages: Input[Sequence[Input[str]]]
    organizations: Input[Sequence[Input[str]]] = ()
    dns_names: Input[Sequence[Input[str]]] = ()
    ip_addresses: Input[Sequence[Input[str]]] = ()
    validity_days: Input[int] = 365
    renew_before_days: Input[int] = 30
    key_algorithm: Input[str] = "ecdsa-p256"


class Certificate(pulumi.CustomResource):
    """A certificate that an authority signed; certificate and private key (secret) are PEM."""

    certificate: Output[str]
    private_key: Output[str]
    not_after: Output[str]

    def __init__(self, name: str, args: CertificateArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("surge:pki:Certificate", name, _properties(args, *ISSUED), _key_secret(opts))


@dataclass(frozen=True, kw_only=True)
class TopologyArgs:
    """What a virtual host holds; fields of the lists are named as in the management API.

    exchanges: name, type, durable, arguments. queues: name, type (quorum, classic), arguments.
    bindings: source, destination (a queue), routing_key. policies: name, pattern, apply_to (queues,
    exchanges, all), definition, priority. users: name, password, tags, permissions {configure, write,
    read} on the virtual host.
    delete_non_empty: names of queues that may be deleted although they hold messages.
    adopt: users and policies of others that may be changed, such as `user worker`.
    """

    management_url: Input[str]
    admin_user: Input[str]
    admin_password: Input[str]
    vhost: Input[str]
    exchanges: Input[Sequence[Input[Mapping[str, Any]]]] = ()
    queues: Input[Sequence[Input[Mapping[str, Any]]]] = ()
    bindings: Input[Sequence[Input[Mapping[str, Any]]]] = ()
    policies: Input[Sequence[Input[Mapping[str, Any]]]] = ()
    users: Input[Sequence[Input[Mapping[str, Any]]]] = ()
    delete_non_empty: Input[Sequence[Input[str]]] = ()
    adopt: Input[Sequence[Input[str]]] = ()
    ca_certificate: Input[str] | None = None


class Topology(pulumi.CustomResource):
    """Exchanges, queues, bindings, policies and users of one virtual host.

    missing: what refresh did not find. adopted: what was there before, is kept as wanted, and never deleted.
    """

    vhost: Output[str]
    missing: Output[Sequence[str]]
    adopted: Output[Sequence[str]]

    def __init__(self, name: str, args: TopologyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("surge:broker:Topology", name, _properties(args, "missing", "adopted"), opts)


ISSUED = ("certificate", "private_key", "not_after")


def _properties(args: Any, *outputs: str) -> dict[str, Any]:
    """The arguments that are set; outputs are named too, as the SDK wants them."""
    properties: dict[str, Any] = dict.fromkeys(outputs)
    for item in fields(args):
        value = getattr(args, item.name)
        if isinstance(value, Ready):
            value = _properties(value)
        if value is not None:
            properties[item.name] = list(value) if isinstance(value, tuple) else value
    return properties


def _key_secret(opts: pulumi.ResourceOptions | None) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions.merge(
        opts, pulumi.ResourceOptions(additional_secret_outputs=["private_key"])
    )
