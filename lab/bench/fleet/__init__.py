"""What a fleet costs: 1,200 filters as a catalogue, on mocks, under the HPA, on a real stack; 300 workers."""

from collections.abc import Iterator

from lab.bench import Row
from lab.bench.fleet import hpa, loading, mocks, updates, workers

__all__ = ["run"]


def run() -> Iterator[Row]:
    for part in (loading, mocks, workers, hpa, updates):
        yield from part.rows()
