"""What the process tells Prometheus of itself."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["Metrics"]

READS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.patches = Counter("surge_scale_in_patches", "Pods patched", ["change"], registry=self.registry)
        self.held_back = Counter(
            "surge_scale_in_held_back", "Changes put off by patches_per_s", registry=self.registry
        )
        self.errors = Counter("surge_scale_in_errors", "Rounds that failed", ["of"], registry=self.registry)
        self.near = Gauge(
            "surge_scale_in_near", "Filters whose HPA is about to remove pods", registry=self.registry
        )
        self.marked = Gauge(
            "surge_scale_in_marked", "Workers that would go first", ["filter"], registry=self.registry
        )
        self.reads = Histogram(
            "surge_scale_in_read_seconds",
            "Seconds a read took",
            ["of"],
            buckets=READS_S,
            registry=self.registry,
        )
        for of in ("api", "broker"):
            self.errors.labels(of)
