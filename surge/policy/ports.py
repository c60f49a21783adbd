"""Where the processes of one local cluster listen: a block of 40 loopback ports."""

from dataclasses import dataclass
from functools import cached_property

__all__ = ["BLOCK", "SERVICES", "Ports"]

BLOCK = 40

# The kernel hands out 32768 and up to clients (ip_local_port_range): a server there could
# find its port taken by somebody's outgoing connection.
HIGHEST = 32_767

SERVICES = (
    "etcd_client",
    "etcd_peer",
    "apiserver",
    "controller_manager",
    "scheduler",
    "kwok",
    "keda_operator_metrics",
    "keda_operator_health",
    "keda_operator_grpc",
    "keda_adapter",
    "keda_adapter_metrics",
    "amqp",
    "management",
    "broker_prometheus",
    "broker_dist",
    "epmd",
    "saturation",
    "prometheus",
    "fleet",
    "alertmanager",
    "hami",
    "verifier",
    "scale_in",
)


@dataclass(frozen=True)
class Ports:
    """The ports of the cluster whose block starts at `base` (1024 to 32728).

    `Ports(21000).apiserver` is 21002: a service's port is its place in SERVICES.
    Raises ValueError when the block does not fit below the kernel's range for clients.
    """

    base: int

    def __post_init__(self) -> None:
        if not 1024 <= self.base <= HIGHEST + 1 - BLOCK:
            raise ValueError(
                f"base port {self.base}: {BLOCK} ports must fit between 1024 and {HIGHEST}, "
                f"so choose 1024 to {HIGHEST + 1 - BLOCK}"
            )

    @cached_property
    def by_service(self) -> dict[str, int]:
        return {service: self.base + place for place, service in enumerate(SERVICES)}

    def __getattr__(self, service: str) -> int:
        if service in SERVICES:
            return self.by_service[service]
        raise AttributeError(service)
