"""From the broker's answer to a served snapshot, against the parser of prometheus_client alone.

With three nodes an answer has one number more per queue, every row is remembered, and for each queue the row
to believe is looked for.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from lab.bench import Row
from metrics_server import Config, FilterSpec, Sampler
from metrics_server.memory import keep_for_good
from metrics_server.sources.metrics_detailed import Parser
from surge.model import Saturation
from surge.policy.demand import WINDOWS_S

__all__ = ["run"]

FILTERS, NODES, RUNS = 1_200, 3, 15
SAMPLE_S = Saturation().sample_s
FAMILIES = ("messages_ready", "messages_unacked", "messages", "process_reductions_total", "consumers")


def run() -> list[Row]:
    keep_for_good()  # as the server does
    body = answer()

    def peer() -> None:
        list(text_string_to_metric_families(body.decode()))

    ours, theirs, three = _cpu_ms(_folding(_of_nodes(1))), _cpu_ms(peer), _cpu_ms(_folding(_of_nodes(NODES)))
    return [
        Row(
            name="parse_fold_ms",
            unit="ms of CPU",
            ours=round(statistics.median(ours), 2),
            peer=round(statistics.median(theirs), 2),
            runs=ours,
        ),
        Row(
            name=f"parse_fold_{NODES}_nodes_ms",
            unit="ms of CPU, all nodes",
            ours=round(statistics.median(three), 2),
            runs=three,
        ),
    ]


def _folding(bodies: Sequence[Sequence[bytes]]) -> Callable[[], None]:
    """A sample of every node, of whose answers it takes one after the other, by a server that is full."""
    sampler = _full_sampler(len(bodies))
    parse = Parser("surge", beats=len(bodies) > 1)
    samples = iter(range(10**6))

    def fold() -> None:
        number = next(samples)
        started = 1e6 + number * SAMPLE_S
        for node, answers in zip(sampler.nodes, bodies, strict=True):
            node.reachable = True
            counts = parse(answers[number % len(answers)])
            sampler.fold(node, counts, started=started, unix=0.0)

    for _ in range(int(WINDOWS_S[-1] / SAMPLE_S) + 50):
        fold()  # from then on it forgets as much as it learns
    return fold


def _of_nodes(nodes: int) -> list[list[bytes]]:
    """Each node leads a part of the queues, and all their numbers move from one answer to the next."""
    return [[answer(range(node, FILTERS, nodes), moved) for moved in range(2)] for node in range(nodes)]


def answer(queues: Iterable[int] = range(FILTERS), moved: int = 0) -> bytes:
    """What RabbitMQ 3.10.8 answers for these queues; the families stand in its order."""
    lines: list[str] = []
    for family in FAMILIES:
        lines += [
            f"# TYPE rabbitmq_detailed_queue_{family} gauge",
            f"# HELP rabbitmq_detailed_queue_{family} A count of each queue",
        ]
        lines += [
            f'rabbitmq_detailed_queue_{family}{{vhost="surge",queue="filter.effect-{queue:04}"}} '
            f"{(queue + moved) % 97}"
            for queue in queues
        ]
    return ("\n".join(lines) + "\n").encode()


def _full_sampler(nodes: int) -> Sampler:
    unused = Path("unused")
    urls = tuple(f"http://127.0.0.{number}:1" for number in range(1, nodes + 1))
    sampler = Sampler(
        Config("127.0.0.1", 0, None, None, unused, urls, "surge", SAMPLE_S, 20, WINDOWS_S, unused)
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
