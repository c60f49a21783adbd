"""`/metrics`: what is in the snapshot at the moment of the scrape, so removed filters vanish."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from metrics_server.config import PREFIX
from metrics_server.door import Answers
from metrics_server.sampler import Sampler
from metrics_server.snapshot import Row

__all__ = ["SaturationCollector", "exposition"]

GAUGES = {
    "active_ratio": ("Busy share of all worker slots", lambda row: row.active_ratio),
    "active_ratio_raw": ("Unacked messages per consumer, unclamped", lambda row: row.active_ratio_raw),
    "desired_workers": ("Workers the filter needs now", lambda row: row.demand.desired_workers),
    "offered_load": ("Busy slots that the arrivals need", lambda row: row.demand.offered_load),
    "settled": ("1 when the longest window is whole", lambda row: row.demand.settled),
    "service_seconds": ("Service time that the law takes", lambda row: row.service.service_s),
    "service_known": ("How far it was learnt; 0 is the catalogue's", lambda row: row.service.known),
    "unacked": ("Messages workers hold", lambda row: row.counts.unacked),
    "consumers": ("Consumers of the queue", lambda row: row.counts.consumers),
    "ready": ("Messages that wait", lambda row: row.counts.ready),
}


class SaturationCollector(Collector):
    """Gauges of every fresh filter; the age of every filter with numbers, fresh or not."""

    def __init__(self, sampler: Sampler, answers: Answers) -> None:
        self.sampler = sampler
        self.answers = answers
        self.started = time.time()

    def collect(self) -> Iterator[Metric]:
        snapshot, now = self.sampler.snapshot, self.sampler.clock()
        fresh: list[tuple[str, Row]] = list(snapshot.all_fresh(now, self.sampler.config.stale_s))
        for name, (text, value) in GAUGES.items():
            family = GaugeMetricFamily(PREFIX + name, text, labels=["filter"])
            for filter_name, row in fresh:
                family.add_metric([filter_name], value(row))
            yield family
        ages = GaugeMetricFamily(PREFIX + "sample_age_seconds", "Since the read began", labels=["filter"])
        for filter_name, row in snapshot.rows.items():
            ages.add_metric([filter_name], now - row.started)
        yield ages
        yield GaugeMetricFamily(PREFIX + "filters", "Filters in the catalogue", value=len(snapshot.known))
        yield GaugeMetricFamily(
            PREFIX + "unknown_filters", "Filters answered by 503", value=len(snapshot.known) - len(fresh)
        )
        yield GaugeMetricFamily(
            PREFIX + "start_time_seconds", "Start of the server, seconds since 1970", value=self.started
        )
        answers = CounterMetricFamily(PREFIX + "answers", "Answers under /v1 by status", labels=["status"])
        for status, count in self.answers.by_status.items():
            answers.add_metric([str(status)], count)
        yield answers
        yield from self._nodes()
        if self.sampler.watch is not None:
            yield from self.sampler.watch.collect()

    def _nodes(self) -> Iterator[Metric]:
        reads = CounterMetricFamily(PREFIX + "reads", "Reads of a broker node", labels=["node", "outcome"])
        seconds = GaugeMetricFamily(PREFIX + "read_seconds", "Last read with its fold", labels=["node"])
        for node in self.sampler.nodes:
            for outcome, count in node.reads.items():
                reads.add_metric([node.url, outcome], count)
            seconds.add_metric([node.url], node.read_s)
        yield reads
        yield seconds


def exposition(registry: CollectorRegistry) -> bytes:
    """Return the registry in the Prometheus text format.

    A family at a time: of 1,200 filters all lines at once are megabytes of strings, which the process keeps.
    """
    return b"".join(generate_latest(_Alone(family)) for family in registry.collect())


class _Alone(Collector):
    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterator[Metric]:
        yield self._family
