"""RabbitMQ, and on it the topology of the fleet: a queue per filter, a user per role."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_random as random

from components.clusters.local_host import LocalHost
from providers.surge.resources import Process, Ready, Topology, TopologyArgs
from surge.model import Broker, Filter, worker_sets
from surge.policy import broker as conf
from surge.policy import topology
from surge.policy.timescale import TimeScale

__all__ = ["BrokerOutputs", "LocalBroker", "LocalBrokerArgs", "queue_of"]

ROLES = ("admin", "worker", "publisher", "saturation", "scale-in")


@dataclass(frozen=True, kw_only=True)
class BrokerOutputs:
    """amqp: host:port. users, passwords, urls: a user's name, its password and AMQP URL, by role.

    metrics: pages of the nodes' Prometheus plugin.
    """

    amqp: str
    management: str
    metrics: Sequence[str]
    vhost: str
    users: Mapping[str, str]
    passwords: Mapping[str, pulumi.Output[str]]
    urls: dict[str, pulumi.Output[str]]
    topology: Topology


@dataclass(frozen=True, kw_only=True)
class LocalBrokerArgs:
    host: LocalHost
    filters: Sequence[Filter]
    settings: Broker


class LocalBroker(pulumi.ComponentResource):
    """One RabbitMQ node with its own port mapper, so that nothing of it is left behind."""

    def __init__(self, name: str, args: LocalBrokerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("surge:broker:Local", name, None, opts)
        self._name = name
        self._args = args
        self._passwords = {role: self._password(role) for role in ROLES}
        self.node = self._node()
        ports = args.host.ports
        self.outputs = BrokerOutputs(
            amqp=f"127.0.0.1:{ports.amqp}",
            management=f"http://127.0.0.1:{ports.management}",
            metrics=[f"http://127.0.0.1:{ports.broker_prometheus}"],
            vhost=topology.VHOST,
            users={role: self._user(role) for role in ROLES},
            passwords=self._passwords,
            urls={role: self._url(role) for role in ROLES},
            topology=self._topology(),
        )
        self.register_outputs({"amqp": self.outputs.amqp})

    def _password(self, role: str) -> pulumi.Output[str]:
        return random.RandomPassword(
            f"{self._name}-{role}", length=32, special=False, opts=pulumi.ResourceOptions(parent=self)
        ).result

    def _user(self, role: str) -> str:
        return role if role == "admin" else topology.user_name(role, self._args.host.name)

    def _url(self, role: str) -> pulumi.Output[str]:
        return pulumi.Output.secret(
            self._passwords[role].apply(
                lambda password: (
                    f"amqp://{self._user(role)}:{password}@127.0.0.1:{self._args.host.ports.amqp}/{topology.VHOST}"
                )
            )
        )

    def _node(self) -> Process:
        host = self._args.host
        mapper = host.process(
            "epmd",
            conf.epmd_command(host.ports.epmd),
            environment={"ERL_EPMD_ADDRESS": "127.0.0.1"},
            listens=["epmd"],
            ready=Ready(tcp=f"127.0.0.1:{host.ports.epmd}"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        cookie = random.RandomPassword(
            f"{self._name}-cookie", length=32, special=False, opts=pulumi.ResourceOptions(parent=self)
        ).result
        settings = conf.NodeSettings(
            name=host.name,
            amqp_port=host.ports.amqp,
            management_port=host.ports.management,
            prometheus_port=host.ports.broker_prometheus,
            dist_port=host.ports.broker_dist,
            epmd_port=host.ports.epmd,
            statistics_s=host.scale.wall(self._args.settings.statistics_s),
        )
        return host.process(
            "rabbitmq",
            conf.server_command(),
            environment=conf.environment(settings),
            files={
                "rabbitmq.conf": self._passwords["admin"].apply(
                    lambda password: conf.rabbitmq_conf(settings, admin_password=password)
                ),
                "advanced.config": conf.advanced_config(settings),
                "enabled_plugins": conf.enabled_plugins(),
                ".erlang.cookie": cookie,
            },
            listens=["amqp", "management", "broker_prometheus", "broker_dist"],
            ready=Ready(http=f"http://127.0.0.1:{host.ports.broker_prometheus}/metrics", timeout_s=90),
            stop_timeout_s=60,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[mapper]),
        )

    def _topology(self) -> Topology:
        filters = self._args.filters
        shape = topology.of_filters(
            {item.name: queue_of(item, self._args.host.scale) for item in filters},
            {each.name: [item.name for item in each.members] for each in worker_sets(filters)},
        )
        return Topology(
            f"{self._name}-topology",
            TopologyArgs(
                management_url=f"http://127.0.0.1:{self._args.host.ports.management}",
                admin_user="admin",
                admin_password=self._passwords["admin"],
                vhost=topology.VHOST,
                exchanges=shape["exchanges"],
                queues=shape["queues"],
                bindings=shape["bindings"],
                policies=shape["policies"],
                users=topology.users(
                    {role: self._passwords[role] for role in ROLES if role != "admin"}, self._args.host.name
                ),
                delete_non_empty=self._args.settings.delete_non_empty,
                adopt=self._args.settings.adopt,
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.node], deleted_with=self.node),
        )


def queue_of(item: Filter, scale: TimeScale) -> topology.FilterQueue:
    """The queue of a filter, in the broker's wall seconds."""
    options = item.queue_options
    return topology.FilterQueue(
        name=item.queue,
        delivery_limit=options.delivery_limit,
        max_length=options.max_length,
        ttl_s=None if options.message_ttl_s is None else scale.wall(options.message_ttl_s),
    )
