"""Real RabbitMQ nodes for tests, in folders and on ports of their own, with the fleet's topology."""

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import pika

from providers.surge.management import Management
from surge.policy import broker as conf
from surge.policy import topology
from surge.policy.topology import VHOST

__all__ = ["ScratchBroker", "ScratchCluster"]

PORTS = ("amqp_port", "management_port", "prometheus_port", "dist_port", "epmd_port")
START_S, STOP_S = 90.0, 60.0


@dataclass(frozen=True)
class _Cluster:
    """What the nodes of one cluster share. epmd_port: of a port mapper that outlives each of them."""

    names: tuple[str, ...]
    epmd_port: int
    cookie: str = field(default_factory=lambda: secrets.token_hex(16).upper(), repr=False)
    admin_password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)


class ScratchBroker:
    """Runs while the block runs. Takes five ports from `base_port` on; data and ports outlive a stop.

    statistics_s: wall seconds between two emissions of a queue's counts.
    """

    def __init__(
        self, folder: Path, base_port: int, *, statistics_s: float = 0.5, cluster: _Cluster | None = None
    ) -> None:
        self._folder = folder
        self._own_mapper = cluster is None
        ports = {name: base_port + number for number, name in enumerate(PORTS)}
        name = _name(base_port)
        cluster = cluster or _Cluster((), ports["epmd_port"])
        ports["epmd_port"] = cluster.epmd_port
        self._settings = conf.NodeSettings(name=name, statistics_s=statistics_s, peers=cluster.names, **ports)
        self.admin_password = cluster.admin_password
        self._cookie = cluster.cookie
        self._processes: list[subprocess.Popen[bytes]] = []
        self._configure()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def amqp_port(self) -> int:
        return self._settings.amqp_port

    @property
    def amqp_url(self) -> str:
        """Of the administrator; on the fleet's virtual host."""
        return f"amqp://admin:{self.admin_password}@127.0.0.1:{self.amqp_port}/{VHOST}"

    @property
    def management_url(self) -> str:
        return f"http://127.0.0.1:{self._settings.management_port}"

    @property
    def prometheus_url(self) -> str:
        return f"http://127.0.0.1:{self._settings.prometheus_port}"

    @property
    def erlang_name(self) -> str:
        return f"{self._settings.name}@localhost"

    def start(self) -> None:
        """Return when clients can connect.

        Raises RuntimeError with the end of the node's log, or with the port that somebody else holds.
        """
        ours = [self._settings.amqp_port, self._settings.management_port, self._settings.prometheus_port]
        for port in [*ours, self._settings.epmd_port] if self._own_mapper else ours:
            if _listens(port):
                raise RuntimeError(f"port {port} is taken; see who holds it: ss -ltnp 'sport = :{port}'")
        if self._own_mapper:
            self._spawn(conf.epmd_command(self._settings.epmd_port))
        self._until(lambda: _listens(self._settings.epmd_port), "its port mapper")
        self._spawn(conf.server_command())
        self._until(lambda: all(_listens(port) for port in ours), "its listeners")

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a crash: nothing is flushed, nobody is told."""
        self._end(signal.SIGKILL)

    def declare(self, filters: Sequence[str], sets: Mapping[str, Sequence[str]] | None = None) -> None:
        """Make exchanges, queues and bindings of these filters. sets: the members of each worker set."""
        queues = {name: topology.FilterQueue(name=f"filter.{name}") for name in filters}
        shape = topology.of_filters(queues, sets or {})
        with pika.BlockingConnection(pika.URLParameters(self.amqp_url)) as connection:
            channel = connection.channel()
            for exchange in shape["exchanges"]:
                channel.exchange_declare(exchange["name"], exchange["type"], durable=True)
            for queue in shape["queues"]:
                kind = {"x-queue-type": queue["type"]}
                channel.queue_declare(queue["name"], durable=True, arguments=kind | queue["arguments"])
            for binding in shape["bindings"]:
                channel.queue_bind(binding["destination"], binding["source"], binding["routing_key"])
        management = Management(self.management_url, "admin", self.admin_password)
        for policy in shape["policies"]:
            body = {key.replace("_", "-"): value for key, value in policy.items() if key != "name"}
            management.send("PUT", ("policies", VHOST, policy["name"]), body)

    def control(self, *arguments: str) -> str:
        """Return what `rabbitmqctl` says. Raises subprocess.CalledProcessError."""
        command = conf.control_command(self._settings, *arguments)
        done = subprocess.run(
            command,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            text=True,
        )
        return done.stdout

    def log(self) -> str:
        return (self._folder / "node.log").read_text(errors="replace")

    def _configure(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        texts = {
            "rabbitmq.conf": conf.rabbitmq_conf(self._settings, admin_password=self.admin_password),
            "advanced.config": conf.advanced_config(self._settings),
            "enabled_plugins": conf.enabled_plugins(),
            ".erlang.cookie": self._cookie,
        }
        for name, text in texts.items():
            path = self._folder / name
            path.touch(0o600)
            path.write_text(text)
        # Erlang refuses a cookie that others may read.
        (self._folder / ".erlang.cookie").chmod(0o400)

    def _spawn(self, command: list[str]) -> None:
        with (self._folder / "node.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)

    def _environment(self) -> dict[str, str]:
        own = conf.environment(self._settings)
        return {
            "PATH": os.environ["PATH"],
            **{key: text.replace("{dir}", str(self._folder)) for key, text in own.items()},
        }

    def _end(self, how: signal.Signals) -> None:
        for process in reversed(self._processes):
            try:
                os.killpg(process.pid, how)
            except ProcessLookupError:
                continue
            process.wait(STOP_S)
        self._processes.clear()
        self._until(lambda: not _listens(self._settings.dist_port), "its end")

    def _until(self, check: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + START_S
        while not check():
            if time.monotonic() > end:
                raise RuntimeError(
                    f"RabbitMQ: waited {START_S:g} s for {what}; its log ends:\n{self.log()[-2000:]}"
                )
            time.sleep(0.05)


class ScratchCluster:
    """`nodes` of one cluster, up while the block runs. Takes ten ports from `base_port` on for each.

    A queue that one node declares has its leader or its only copy there.
    """

    def __init__(self, folder: Path, base_port: int, size: int = 3, *, statistics_s: float = 0.5) -> None:
        ports = [base_port + 10 * number for number in range(size)]
        self._mapper_port = base_port + len(PORTS)
        shared = _Cluster(tuple(map(_name, ports)), self._mapper_port)
        self.nodes = [
            ScratchBroker(folder / _name(port), port, statistics_s=statistics_s, cluster=shared)
            for port in ports
        ]
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            mapper = subprocess.Popen(conf.epmd_command(self._mapper_port), stderr=subprocess.DEVNULL)
            starting.callback(mapper.wait)
            starting.callback(mapper.terminate)
            for node in self.nodes:
                starting.enter_context(node)
            self._running = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def move_leader(self, queue: str, to: ScratchBroker) -> None:
        """Of a quorum queue that `to` is a member of. Raises RuntimeError when it stays where it is."""
        said = to.control(
            "eval",
            f'{{ok, Queue}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{VHOST}">>, queue, <<"{queue}">>)), '
            f"rabbit_quorum_queue:transfer_leadership(Queue, '{to.erlang_name}').",
        )
        if "migrated" not in said:
            raise RuntimeError(f"RabbitMQ: the leader of {queue} does not move to {to.erlang_name}: {said}")


def _name(base_port: int) -> str:
    return f"scratch{base_port}"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
