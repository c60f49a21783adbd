"""`python -m metrics_server --config FILE`."""

import argparse
import logging
import sys
from pathlib import Path

import structlog
import uvloop

from metrics_server.config import Config, ConfigError
from metrics_server.server import SaturationServer


def main(arguments: list[str] | None = None) -> int:
    """Return 0 after a graceful end, 2 when a file is wrong."""
    parser = argparse.ArgumentParser(prog="metrics_server", description="Serve each filter's saturation.")
    parser.add_argument("--config", type=Path, required=True, help="JSON settings (metrics_server/README.md)")
    options = parser.parse_args(arguments)
    _log_json()
    try:
        server = SaturationServer(Config.read(options.config))
        uvloop.run(server.run())
    except ConfigError as error:
        sys.stderr.write(f"metrics_server: {error}\n")
        return 2
    return 0


def _log_json() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=True,
    )


if __name__ == "__main__":
    sys.exit(main())
