"""`python -m metrics_server --config FILE`."""

import argparse
import logging
import sys
from pathlib import Path

import structlog
import uvloop

from metrics_server.config import Config, ConfigError
from metrics_server.memory import keep_for_good, keep_little
from metrics_server.server import SaturationServer


def main(arguments: list[str] | None = None) -> int:
    """Return 0 after a graceful end, 2 when a file is wrong."""
    parser = argparse.ArgumentParser(prog="metrics_server", description="Serve each filter's saturation.")
    parser.add_argument("--config", type=Path, required=True, help="JSON settings (metrics_server/README.md)")
    options = parser.parse_args(arguments)
    _log_json()
    keep_little()
    # While a thread renders /metrics, each request would wait for Python's lock for 5 ms, its default.
    sys.setswitchinterval(0.0005)
    try:
        server = SaturationServer(Config.read(options.config))
        keep_for_good()
        uvloop.run(server.run())
    except ConfigError as error:
        sys.stderr.write(f"metrics_server: {error}\n")
        return 2
    return 0


def _log_json() -> None:
    """One JSON object a line on stdout, from this program and from the libraries under it."""
    stamped: list[structlog.types.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendered: list[structlog.types.Processor] = [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
    structlog.configure(
        processors=[*stamped, *rendered],
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    theirs = logging.StreamHandler(sys.stdout)
    meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    theirs.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=stamped, processors=[meta, *rendered])
    )
    logging.basicConfig(level=logging.WARNING, handlers=[theirs])
    # A client that sends rubbish gets its 400; a line for each would let it fill the disk.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


if __name__ == "__main__":
    sys.exit(main())
