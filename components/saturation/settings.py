"""The two files that a saturation server is started with, see metrics_server/README.md."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from surge.model import Filter, WorkerSet, worker_sets
from surge.policy.demand import BETA, WINDOWS_S
from surge.policy.timescale import TimeScale

__all__ = ["ServerSettings"]

# From the HPA's word to a started pod, beside the warm-up.
SCHEDULING_S = 3.0


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """nodes: metrics pages of every broker node. sample_s, stale_s: model seconds.

    amqp, management: URLs of the nodes, without credentials. With `amqp` the server watches the queues and
    listens to the broker's events; with `management` it has another source when the metrics pages fail.
    own_authority: the broker's certificates are signed by an authority that no system knows.
    """

    filters: Sequence[Filter]
    nodes: Sequence[str]
    vhost: str
    sample_s: float
    stale_s: float
    scale: TimeScale
    amqp: Sequence[str] = ()
    management: Sequence[str] = ()
    own_authority: bool = False

    @property
    def needs_credentials(self) -> bool:
        return bool(self.amqp or self.management)

    def config(self, *, host: str, port: int, grace_s: float) -> str:
        """config.json; beside it lie tls.crt, tls.key, tokens and filters.json.

        And `credentials` when it needs them, `broker-ca.crt` for an authority of the broker's own.
        """
        wall = self.scale.wall
        settings = {
            "listen": {"host": host, "port": port, "certificate": "tls.crt", "key": "tls.key"},
            "token_file": "tokens",
            "broker": self._broker(),
            "sample_s": wall(self.sample_s),
            "stale_s": wall(self.stale_s),
            "windows_s": [wall(window) for window in WINDOWS_S],
            "filters_file": "filters.json",
            "grace_s": grace_s,
        }
        return json.dumps(settings, indent=1)

    def _broker(self) -> dict[str, object]:
        broker: dict[str, object] = {"nodes": list(self.nodes), "vhost": self.vhost}
        if self.management:
            broker["management"] = list(self.management)
        if self.amqp:
            broker |= {"amqp": list(self.amqp), "events": True}
        if self.needs_credentials:
            broker["credentials_file"] = "credentials"
        if self.own_authority:
            broker["ca_file"] = "broker-ca.crt"
        return broker

    def filters_file(self) -> str:
        """filters.json: what the server needs to know of each filter, in wall seconds."""
        sets = [self._set(item) for item in worker_sets(self.filters)]
        content = {
            "filters": [self._entry(item) for item in self.filters],
            **({"sets": sets} if sets else {}),
        }
        return json.dumps(content, indent=1)

    def _set(self, item: WorkerSet) -> dict[str, object]:
        entry = self._entry(item)
        del entry["service_s"]  # what its members' are
        return {**entry, "members": [each.name for each in item.members]}

    def _entry(self, item: Filter) -> dict[str, object]:
        wall = self.scale.wall
        return {
            "name": item.name,
            "queue": item.queue,
            "slots": item.slots,
            "service_s": wall(item.service_s),
            "drain_s": wall(item.drain_s),
            "lead_s": wall(item.warmup_s + SCHEDULING_S),
            "beta": BETA[item.service_class],
        }
