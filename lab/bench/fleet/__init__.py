"""What a fleet costs: 1,200 filters on mocks, and the lab's 300 workers under load."""

from lab.bench import Row
from lab.bench.fleet import mocks, workers

__all__ = ["run"]


def run() -> list[Row]:
    return [*mocks.rows(), *workers.rows()]
