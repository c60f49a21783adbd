"""A second opinion over AMQP: is each queue there, and how many consumers does it have at this moment?

A passive declare needs no permission, answers of now and tells ready messages and consumers, never
unacked ones. So it is a check of the served numbers and no part of them: consumers of now beside
unacked messages of a second ago would be a ratio that never was.
"""

import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pika
import structlog
from pika.exceptions import AMQPError, ChannelClosedByBroker
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from metrics_server.config import PREFIX, Config, ConfigError
from metrics_server.credentials import Credentials
from metrics_server.events import Events

__all__ = ["Watch"]

log = structlog.get_logger("watch")

# 1,200 declares in a round cost the broker half a percent of a core.
ROUND_S, AGAIN_S, NAP_S = 30.0, 5.0, 1.0
# How often a count is repeated: `Count` says for what.
TRIES, DOUBTS = 2, 2
HEARTBEAT_S = 20
NOT_FOUND = 404


class Watch:
    """Asks for every queue once in ROUND_S, evenly spread, over one connection in a thread of its own.

    queues: the queue of each filter, by the filter's name. sampled: the consumers that are served for
    a filter now, None for an unknown one. events: of the same connection; they tell nothing unless
    the settings ask for them. Raises ConfigError when the credentials cannot be used.
    """

    def __init__(
        self,
        config: Config,
        trust: ssl.SSLContext,
        queues: Callable[[], Mapping[str, str]],
        sampled: Callable[[str], float | None],
    ) -> None:
        self.events = Events(config.vhost, wanted=config.events)
        if config.credentials_file is None:
            raise ConfigError("broker.amqp needs broker.credentials_file")
        self._urls, self._vhost, self._trust = config.amqp, config.vhost, trust
        self._credentials = Credentials(config.credentials_file)
        self._queues, self._sampled = queues, sampled
        self._over = threading.Event()
        self._channel: Any = None
        self._turn = 0
        self._up: bool | None = None
        self._drift: dict[str, float] = {}
        self._missing: frozenset[str] = frozenset()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Watch while the block runs."""
        self._over.clear()
        thread = threading.Thread(target=self._run, name="watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()

    def collect(self) -> Iterator[Metric]:
        """What the last round saw, for /metrics."""
        known = self._queues()
        yield GaugeMetricFamily(PREFIX + "watch_up", "1 while AMQP answers", value=bool(self._up))
        drift = GaugeMetricFamily(
            PREFIX + "consumer_drift", "Consumers as served less consumers as declared", labels=["filter"]
        )
        for name, difference in dict(self._drift).items():
            if name in known:
                drift.add_metric([name], difference)
        yield drift
        missing = len(self._missing & known.keys())
        yield GaugeMetricFamily(PREFIX + "missing_queues", "Filters without their queue", value=missing)
        yield from self.events.collect(known)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                with pika.BlockingConnection(self._parameters()) as connection:
                    self._tell(up=True, why="")
                    while not self._over.is_set():
                        self._round(connection)
            except (AMQPError, OSError, ConfigError) as error:
                self._turn += 1
                self._tell(up=False, why=type(error).__name__)
            except Exception as error:
                # Nobody waits for this thread: it would be gone, and `watch_up` 1 for ever.
                log.exception("watch failed, it begins anew")
                self._tell(up=False, why=type(error).__name__)
            self._drift, self._missing = {}, frozenset()
            self.events.detach()
            self._over.wait(AGAIN_S)

    def _parameters(self) -> pika.URLParameters:
        parameters = pika.URLParameters(self._urls[self._turn % len(self._urls)])
        parameters.virtual_host = self._vhost
        parameters.credentials = pika.PlainCredentials(*self._credentials.current())
        parameters.heartbeat = HEARTBEAT_S
        if parameters.ssl_options is not None:
            parameters.ssl_options = pika.SSLOptions(self._trust, parameters.host)
        return parameters

    def _round(self, connection: Any) -> None:
        queues = self._queues()
        self._channel = connection.channel()
        self.events.attach(connection, queues.values())
        turn_s = ROUND_S / max(1, len(queues))
        began = time.monotonic()
        for turn, (name, queue) in enumerate(queues.items(), 1):
            self._rest(connection, began + turn * turn_s - time.monotonic())
            if self._over.is_set():
                return
            self._look(connection, name, queue, TRIES, DOUBTS)
        if not queues:
            self._rest(connection, NAP_S)
        self._channel.close()

    def _look(self, connection: Any, name: str, queue: str, tries: int, doubts: int) -> None:
        try:
            declared = self.events.count(self._channel, name, queue, tries=tries, doubts=doubts)
        except ChannelClosedByBroker as error:
            self._channel = connection.channel()
            self._drift.pop(name, None)
            if error.reply_code == NOT_FOUND:
                self._missing |= {name}
                self.events.ledger.forget(queue)
            return
        self._missing -= {name}
        sampled = self._sampled(name)
        if sampled is None:
            self._drift.pop(name, None)
        else:
            self._drift[name] = sampled - declared

    def _rest(self, connection: Any, seconds: float) -> None:
        """Take what events come meanwhile, also when there is no time left."""
        end = time.monotonic() + seconds
        while not self._over.is_set():
            connection.sleep(min(NAP_S, max(0.0, end - time.monotonic())))
            self.events.catch_up(connection)
            for count in self.events.settle():
                self._look(connection, count.name, count.queue, count.tries, count.doubts)
            if time.monotonic() >= end:
                return

    def _tell(self, *, up: bool, why: str) -> None:
        if self._up != up:
            self._up = up
            log.info("broker answers over AMQP" if up else "broker does not answer over AMQP", why=why)
