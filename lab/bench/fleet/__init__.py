"""What a fleet costs: 1,200 filters as a catalogue, on mocks, under the HPA, on a real stack; 300 workers."""

from lab.bench import Row
from lab.bench.fleet import hpa, loading, mocks, updates, workers

__all__ = ["run"]


def run() -> list[Row]:
    return [*loading.rows(), *mocks.rows(), *workers.rows(), *hpa.rows(), *updates.rows()]
