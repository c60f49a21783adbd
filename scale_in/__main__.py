"""`python -m scale_in --config FILE`: run until SIGTERM."""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

import structlog
from prometheus_client import start_http_server
from pydantic import ValidationError

from scale_in.api import Api
from scale_in.broker import Broker
from scale_in.chooser import Chooser
from scale_in.metrics import Metrics
from scale_in.settings import Settings


def main() -> int:
    """Return 0 after a graceful end, 2 when a file is wrong."""
    parser = argparse.ArgumentParser(prog="python -m scale_in", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="JSON file, see scale_in/settings.py")
    file = parser.parse_args().config
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )
    try:
        settings = Settings.read(file)
    except (OSError, ValidationError) as error:
        sys.stderr.write(f"scale_in: {file} cannot be used: {error}\n")
        return 2
    asyncio.run(_run(settings))
    return 0


async def _run(settings: Settings) -> None:
    metrics = Metrics()
    server, _ = start_http_server(
        settings.metrics_port, addr=settings.metrics_host, registry=metrics.registry
    )
    async with (
        Api(settings.kubeconfig, settings.namespace) as api,
        Broker(settings.management, settings.vhost, settings.credentials, settings.ca) as broker,
    ):
        running = asyncio.create_task(Chooser(api, broker, settings, metrics).run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, running.cancel)
        await asyncio.gather(running, return_exceptions=True)
    server.shutdown()
    if not running.cancelled() and (error := running.exception()) is not None:
        raise error


if __name__ == "__main__":
    sys.exit(main())
