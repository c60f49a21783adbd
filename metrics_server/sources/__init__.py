"""Where the counts come from: one small interface, `Source`, who implements it, and which to use."""

from metrics_server.config import Config
from metrics_server.sources.counts import Counts, ReadError, Source, Table
from metrics_server.sources.management import Management
from metrics_server.sources.metrics_detailed import MetricsDetailed, newest

__all__ = ["Counts", "Management", "MetricsDetailed", "ReadError", "Source", "Table", "newest", "sources"]


def sources(config: Config) -> list[list[Source]]:
    """Return the ways to read this broker, the best one first: a way is a source per address.

    Raises ConfigError when the credentials of one cannot be used.
    """
    ways: list[list[Source]] = []
    if config.nodes:
        several = len(config.nodes) > 1
        ways.append([MetricsDetailed(url, config.vhost, beats=several) for url in config.nodes])
    if config.management and config.credentials_file:
        ways.append([Management(config.management, config.vhost, config.credentials_file)])
    return ways
