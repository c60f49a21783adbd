"""What a worker tells of itself at /metrics, in Prometheus' text format."""

import time
from collections.abc import Iterator

__all__ = ["OUTCOMES", "Tally"]

# done: acked. failed: the handler raised. handed_back: unfinished at a stop. repeated: had been done before.
OUTCOMES = ("done", "failed", "handed_back", "repeated")


class Tally:
    """Counts of one worker since its start. busy: slots at work now."""

    def __init__(self, filter_name: str, slots: int) -> None:
        self._filter = filter_name
        self._slots = slots
        self.jobs: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
        self.busy = 0
        self.ready = False
        self.draining_since: float | None = None

    def drain(self) -> None:
        """A stop was asked for; the first counts."""
        self.draining_since = self.draining_since or time.time()

    def text(self) -> str:
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        # The catalogue allows no sign in a filter's name that a label would have to escape.
        label = f'filter="{self._filter}"'
        since = self.draining_since
        yield "# HELP surge_worker_jobs_total Jobs by how they ended here."
        yield "# TYPE surge_worker_jobs_total counter"
        for outcome, count in self.jobs.items():
            yield f'surge_worker_jobs_total{{{label},outcome="{outcome}"}} {count}'
        gauges = {
            "slots": ("Jobs it may work on at a time.", self._slots),
            "busy_slots": ("Jobs it works on.", self.busy),
            "ready": ("1 while it consumes.", int(self.ready)),
            "draining_since_seconds": ("Unix time of the stop, 0 before it.", since or 0),
            "drain_seconds": ("Time since the stop, 0 before it.", time.time() - since if since else 0),
        }
        for name, (about, value) in gauges.items():
            yield f"# HELP surge_worker_{name} {about}"
            yield f"# TYPE surge_worker_{name} gauge"
            yield f"surge_worker_{name}{{{label}}} {value:.15g}"
