"""What a fleet costs: 1,200 filters as a catalogue, on mocks and under the HPA; 300 workers under load."""

from lab.bench import Row
from lab.bench.fleet import hpa, loading, mocks, workers

__all__ = ["run"]


def run() -> list[Row]:
    return [*loading.rows(), *mocks.rows(), *hpa.rows(), *workers.rows()]
