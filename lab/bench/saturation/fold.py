"""From the broker's answer to a served snapshot, against the parser of prometheus_client alone."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from lab.bench import Row
from metrics_server import Config, FilterSpec, Sampler
from metrics_server.sources.metrics_detailed import Parser
from surge.policy.demand import WINDOWS_S

__all__ = ["run"]

FILTERS, RUNS = 1_200, 15
SAMPLE_S = 2.0
FAMILIES = ("messages_ready", "messages_unacked", "messages", "process_reductions_total", "consumers")


def run() -> list[Row]:
    body = answer()
    sampler = _full_sampler()
    parse = Parser("surge")
    clock = iter(range(10**6))

    def fold() -> None:
        started = 1e6 + next(clock) * SAMPLE_S
        sampler.fold(sampler.nodes[0], parse(body), started=started, unix=0.0)

    def peer() -> None:
        list(text_string_to_metric_families(body.decode()))

    for _ in range(int(WINDOWS_S[-1] / SAMPLE_S) + 50):
        fold()  # a server that has run for a while forgets as much as it learns
    ours, theirs = _cpu_ms(fold), _cpu_ms(peer)
    return [
        Row(
            name="parse_fold_ms",
            unit="ms of CPU",
            ours=round(statistics.median(ours), 2),
            peer=round(statistics.median(theirs), 2),
            runs=ours,
        )
    ]


def answer() -> bytes:
    """What RabbitMQ 3.10.8 answers for 1,200 queues; the families stand in its order."""
    lines: list[str] = []
    for family in FAMILIES:
        lines += [
            f"# TYPE rabbitmq_detailed_queue_{family} gauge",
            f"# HELP rabbitmq_detailed_queue_{family} A count of each queue",
        ]
        lines += [
            f'rabbitmq_detailed_queue_{family}{{vhost="surge",queue="filter.effect-{queue:04}"}} {queue % 97}'
            for queue in range(FILTERS)
        ]
    return ("\n".join(lines) + "\n").encode()


def _full_sampler() -> Sampler:
    unused = Path("unused")
    nodes = ("http://127.0.0.1:1",)
    sampler = Sampler(
        Config("127.0.0.1", 0, None, None, unused, nodes, "surge", SAMPLE_S, 20, WINDOWS_S, unused)
    )
    names = [f"effect-{queue:04}" for queue in range(FILTERS)]
    sampler.use({name: FilterSpec(name, f"filter.{name}", 1, 8, 60, 1.06) for name in names})
    return sampler


def _cpu_ms(work: Callable[[], None]) -> list[float]:
    seen = []
    for _ in range(RUNS):
        began = time.process_time()
        work()
        seen.append(round((time.process_time() - began) * 1e3, 2))
    return seen
