"""The saturation server: one bulk read of RabbitMQ, and how busy each filter's workers are, for KEDA.

sampler (reads the broker) -> snapshot (immutable) -> api, collector (endpoints)
"""

from metrics_server.api import build_app
from metrics_server.config import Config, ConfigError, FilterSpec
from metrics_server.sampler import Sampler
from metrics_server.server import SaturationServer
from metrics_server.snapshot import Snapshot

__all__ = ["Config", "ConfigError", "FilterSpec", "Sampler", "SaturationServer", "Snapshot", "build_app"]
