"""A RabbitMQ node on loopback: its configuration, environment and command lines, as text.

`{dir}` stands for the node's own folder, see providers/surge/resources.py.
"""

from dataclasses import dataclass

__all__ = [
    "NodeSettings",
    "advanced_config",
    "control_command",
    "enabled_plugins",
    "environment",
    "epmd_command",
    "rabbitmq_conf",
    "server_command",
]

PLUGINS = ("rabbitmq_management", "rabbitmq_prometheus", "rabbitmq_event_exchange")


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """name: tells nodes of one machine apart. statistics_s: wall seconds between two emissions.

    peers: names of all nodes of its cluster, its own too; none for a node that stands alone.
    """

    name: str
    amqp_port: int
    management_port: int
    prometheus_port: int
    dist_port: int
    epmd_port: int
    statistics_s: float
    peers: tuple[str, ...] = ()


def rabbitmq_conf(node: NodeSettings, *, admin_password: str) -> str:
    """The file holds the administrator's password: write it for the owner alone."""
    lines = {
        "listeners.tcp.local": f"127.0.0.1:{node.amqp_port}",
        "management.tcp.ip": "127.0.0.1",
        "management.tcp.port": node.management_port,
        "prometheus.tcp.ip": "127.0.0.1",
        "prometheus.tcp.port": node.prometheus_port,
        "default_user": "admin",
        "default_pass": admin_password,
        "default_vhost": "surge",
        "collect_statistics_interval": _milliseconds(node.statistics_s),
        "disk_free_limit.absolute": "200MB",
        "vm_memory_high_watermark.absolute": "1GB",
        "log.console": "true",
        "log.console.level": "warning",
        "log.file": "false",
    }
    if node.peers:
        lines["cluster_formation.peer_discovery_backend"] = "classic_config"
    lines |= {
        f"cluster_formation.classic_config.nodes.{number}": f"{peer}@localhost"
        for number, peer in enumerate(node.peers, 1)
    }
    return "".join(f"{key} = {value}\n" for key, value in lines.items())


def advanced_config(node: NodeSettings) -> str:
    # A quorum queue tells its numbers at the tick of its leader, not at the statistics interval.
    return f"[{{rabbit, [{{quorum_tick_interval, {_milliseconds(node.statistics_s)}}}]}}].\n"


def enabled_plugins() -> str:
    return f"[{','.join(PLUGINS)}].\n"


def environment(node: NodeSettings) -> dict[str, str]:
    return {
        "HOME": "{dir}",
        "RABBITMQ_NODENAME": f"{node.name}@localhost",
        "RABBITMQ_MNESIA_BASE": "{dir}/data",
        "RABBITMQ_LOG_BASE": "{dir}/log",
        "RABBITMQ_CONFIG_FILE": "{dir}/rabbitmq.conf",
        "RABBITMQ_ADVANCED_CONFIG_FILE": "{dir}/advanced.config",
        "RABBITMQ_ENABLED_PLUGINS_FILE": "{dir}/enabled_plugins",
        "RABBITMQ_PID_FILE": "{dir}/pid",
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_DIST_PORT": str(node.dist_port),
        "ERL_EPMD_PORT": str(node.epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        # Idle schedulers that spin would take a core for nothing; distribution stays on loopback.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none "
        "-kernel inet_dist_use_interface {127,0,0,1}",
    }


def server_command() -> list[str]:
    # Debian's wrapper of the same name in PATH changes the user; this is the server itself.
    return ["/usr/lib/rabbitmq/bin/rabbitmq-server"]


def control_command(node: NodeSettings, *arguments: str) -> list[str]:
    """A `rabbitmqctl` of this node, in `environment`."""
    return ["/usr/lib/rabbitmq/bin/rabbitmqctl", "--quiet", "--node", f"{node.name}@localhost", *arguments]


def epmd_command(port: int) -> list[str]:
    """Erlang's port mapper in the foreground; one that a node starts itself outlives the node."""
    return ["epmd", "-port", str(port), "-address", "127.0.0.1"]


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
