"""Poisson arrivals whose rate follows straight lines between knots."""

import heapq
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

from lab.publisher import Arrival

__all__ = ["RatePoint", "Source", "arrival_times", "merged"]


@dataclass(frozen=True)
class RatePoint:
    """at_s: wall seconds. rate: messages in a wall second."""

    at_s: float
    rate: float


@dataclass(frozen=True)
class Source:
    """stream: sources of the same stream and the same rates have the same arrival times."""

    stream: str
    points: Sequence[RatePoint]


def merged(sources: Mapping[str, Source], seed: int) -> Iterator[Arrival]:
    """The arrivals of all filters in the order of time."""
    return heapq.merge(*(_of(name, sources[name], seed) for name in sources), key=lambda each: each.at_s)


def arrival_times(points: Sequence[RatePoint], random_: random.Random) -> Iterator[float]:
    """Arrivals of a Poisson process with the rate drawn by `points`, until the last of them.

    By time rescaling: the k-th arrival is where the integral of the rate reaches the sum of k
    exponential draws of mean 1 (Çınlar, Introduction to Stochastic Processes, 1975, section 4.7).
    """
    due = random_.expovariate(1.0)
    passed = 0.0
    for start, end in pairwise(points):
        width = end.at_s - start.at_s
        area = width * (start.rate + end.rate) / 2
        while due - passed <= area and width > 0:
            yield start.at_s + _when(due - passed, start.rate, (end.rate - start.rate) / width)
            due += random_.expovariate(1.0)
        passed += area


def _of(name: str, source: Source, seed: int) -> Iterator[Arrival]:
    for at_s in arrival_times(source.points, random.Random(f"{seed}:{source.stream}")):
        yield Arrival(at_s, name)


def _when(area: float, rate: float, slope: float) -> float:
    """The t at which rate·t + slope·t²/2 = area."""
    root = sqrt(max(0.0, rate * rate + 2 * slope * area))
    # This form of the quadratic's root stays exact as the slope goes to 0.
    return 2 * area / (rate + root)
