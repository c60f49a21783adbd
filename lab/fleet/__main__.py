"""`python -m lab.fleet --config FILE`: run the fleet until SIGTERM."""

import argparse
import asyncio
import logging
import signal
from pathlib import Path

import structlog
from prometheus_client import start_http_server

from lab.fleet.cluster import Cluster
from lab.fleet.fleet import Fleet
from lab.fleet.journal import Journal
from lab.fleet.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.fleet", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="JSON file, see lab/fleet/settings.py")
    settings = Settings.read(parser.parse_args().config)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )
    # pika tells every step of every connection at level INFO: three hundred workers drown the log.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    with Journal(settings.events) as journal:
        server, _ = start_http_server(settings.metrics_port, addr="127.0.0.1", registry=journal.registry)
        async with Cluster(settings.kubeconfig, settings.namespace) as cluster:
            fleet = asyncio.create_task(Fleet(cluster, journal, settings.seed).run())
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, fleet.cancel)
            await asyncio.gather(fleet, return_exceptions=True)
        server.shutdown()
        if not fleet.cancelled() and (error := fleet.exception()) is not None:
            raise error


if __name__ == "__main__":
    main()
