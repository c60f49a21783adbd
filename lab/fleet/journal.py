"""What happened to workers and messages: one JSON line each, and the same as metrics."""

import time
from collections import Counter, defaultdict
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from worker import Job

__all__ = ["Journal"]

STATES = ("warming", "ready", "draining")
WAITS_S = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128)


class Journal:
    """Lines go out whole and at once: a reader may follow the file while it grows."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._states: dict[str, str] = {}
        self._filters: dict[str, str] = {}
        self._finished: Counter[str] = Counter()
        self._busy: Counter[str] = Counter()
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._waits = Histogram(
            "surge_lab_wait_seconds",
            "Wall seconds from publish to the start of the work",
            ["filter"],
            buckets=WAITS_S,
            registry=self.registry,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def worker(self, event: str, of_filter: str, name: str, *, state: str | None) -> None:
        """event: what happened. state: warming, ready or draining from now on; None when it is over."""
        self._filters[name] = of_filter
        if state is None:
            self._states.pop(name, None)
            self._filters.pop(name, None)
        else:
            self._states[name] = state
        self._write(event, of_filter, name)

    def started(self, of_filter: str, name: str, job: Job) -> None:
        self._busy[of_filter] += 1
        published = _published_at(job)
        if published is not None:
            self._waits.labels(of_filter).observe(max(0.0, time.time() - published))
        self._job("started", of_filter, name, job)

    def finished(self, of_filter: str, name: str, job: Job) -> None:
        self._finished[of_filter] += 1
        self._job("finished", of_filter, name, job)

    def abandoned(self, of_filter: str, name: str, job: Job, reason: str) -> None:
        self._job("abandoned", of_filter, name, job, reason=reason)

    def idle(self, of_filter: str) -> None:
        """The counterpart of started, however the work ended."""
        self._busy[of_filter] -= 1

    def collect(self) -> list[GaugeMetricFamily | CounterMetricFamily]:
        workers = GaugeMetricFamily("surge_lab_workers", "Workers by state", labels=["filter", "state"])
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        # A copy: the metrics' thread reads while the event loop writes.
        for name, state in dict(self._states).items():
            counts[self._filters.get(name, "")][state] += 1
        for of_filter in sorted({*counts, *self._busy}):
            for state in STATES:
                workers.add_metric([of_filter, state], counts[of_filter][state])
        busy = GaugeMetricFamily("surge_lab_busy", "Jobs being worked on", labels=["filter"])
        for of_filter, count in sorted(self._busy.items()):
            busy.add_metric([of_filter], count)
        finished = CounterMetricFamily(
            "surge_lab_jobs_finished", "Jobs finished and acked", labels=["filter"]
        )
        for of_filter, count in sorted(self._finished.items()):
            finished.add_metric([of_filter], count)
        return [workers, busy, finished]

    def _job(self, event: str, of_filter: str, name: str, job: Job, **more: object) -> None:
        self._write(
            event,
            of_filter,
            name,
            message_id=job.message_id,
            published_at=_published_at(job),
            redelivered=job.redelivered,
            **more,
        )

    def _write(self, event: str, of_filter: str, name: str, **more: object) -> None:
        line = {"t": time.time(), "event": event, "filter": of_filter, "worker": name, **more}
        self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def _published_at(job: Job) -> float | None:
    """Unix seconds. The header counts microseconds, as AMQP tables of pika hold no fractions."""
    value = job.headers.get("published-at-us")
    return value / 1e6 if isinstance(value, int) else None
