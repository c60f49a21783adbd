"""How the load of a filter changes over time, and the requests that follow from it."""

from collections.abc import Callable, Sequence
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHAPES", "Multiples", "growing", "noisy", "requests"]

# The load at each second, as a multiple of the base load.
Multiples = NDArray[np.float64]

HOUR = 3600
FACTOR = 7.0


def growing(knots: Sequence[tuple[float, float]]) -> Callable[[int], Multiples]:
    """A shape through (seconds, multiple), exponential in between; two knots at one time are a step."""

    def shape(_seed: int) -> Multiples:
        times, multiples = zip(*knots, strict=True)
        return np.exp(np.interp(np.arange(times[-1]) + 0.5, times, np.log(multiples)))

    return shape


def noisy(length_s: int, spread: float, memory_s: float) -> Callable[[int], Multiples]:
    """A load that wanders: its logarithm has deviation `spread` and forgets within `memory_s`."""

    def shape(seed: int) -> Multiples:
        random = np.random.default_rng([seed, 4])
        kept = exp(-1 / memory_s)
        at, path = spread * random.standard_normal(), np.empty(length_s)
        for second, push in enumerate(random.standard_normal(length_s)):
            at = kept * at + spread * sqrt(1 - kept * kept) * push
            path[second] = at
        return np.exp(path - spread * spread / 2)

    return shape


# Two hours each. The rise of ghibli is that of lab/shapes/ghibli.yaml: 7x within a quarter of an hour.
SHAPES: dict[str, Callable[[int], Multiples]] = {
    "step": growing([(0, 1), (1800, 1), (1800, FACTOR), (5400, FACTOR), (5400, 1), (2 * HOUR, 1)]),
    "hour": growing([(0, 1), (900, 1), (900 + HOUR, FACTOR), (2 * HOUR, FACTOR)]),
    "flat": growing([(0, 1), (2 * HOUR, 1)]),
    "ghibli": growing([(0, 1), (1200, 1), (2100, FACTOR), (4500, FACTOR), (5400, 1), (2 * HOUR, 1)]),
    "noise": noisy(2 * HOUR, 0.3, 300),
}


def requests(
    load: Multiples, service_s: float, seed: int, *, cv: float = 0.72
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return when requests come and what each takes, both in seconds.

    load: busy workers at each second. Poisson arrivals by stretching a unit process over the load;
    log-normal work with mean service_s and coefficient of variation cv.
    """
    random = np.random.default_rng([seed, len(load)])
    expected = np.concatenate([[0.0], np.cumsum(load / service_s)])
    count = random.poisson(expected[-1])
    arrivals = np.interp(np.sort(random.random(count)) * expected[-1], expected, np.arange(len(expected)))
    sigma = sqrt(log(1 + cv * cv))
    return arrivals, random.lognormal(log(service_s) - sigma * sigma / 2, sigma, count)
