"""When the work of a filter is done by Jobs that end, instead of workers that stay.

A worker that must leave its node finishes what it has in hand, but only as long as whoever empties
the node lets it: the Cluster Autoscaler grants ten minutes, whatever the pod asks for. Longer work
must not be interrupted at all, which a Job can ask for and a worker of a shrinking fleet cannot:
the HPA picks whom it likes.
"""

__all__ = ["GOODBYE_S", "runs_as_jobs", "shift_s"]

# What a worker needs beyond its longest job to say goodbye: cancel, ack, close.
GOODBYE_S = 30
DRAIN_S = 600


def runs_as_jobs(service_class: str, longest_job_s: float) -> bool:
    """Nobody may be waiting: each Job begins with a warm-up."""
    return service_class == "batch" and longest_job_s + GOODBYE_S > DRAIN_S


def shift_s(warmup_s: float) -> float:
    """How long a Job takes messages after its warm-up: so that this is at most a tenth of its life."""
    return 9 * warmup_s
