"""`python -m lab.fleet --config FILE`: run the fleet until SIGTERM."""

import argparse
import asyncio
import logging
from pathlib import Path

from prometheus_client import start_http_server

from lab.fleet.cluster import Cluster
from lab.fleet.fleet import Fleet
from lab.fleet.journal import Journal
from lab.fleet.settings import Settings
from lab.service import log_as_json, until_told


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.fleet", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="JSON file, see lab/fleet/settings.py")
    settings = Settings.read(parser.parse_args().config)
    log_as_json()
    # pika tells every step of every connection at level INFO: three hundred workers drown the log.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    with Journal(settings.events) as journal:
        server, _ = start_http_server(settings.metrics_port, addr="127.0.0.1", registry=journal.registry)
        async with Cluster(settings.kubeconfig, settings.namespace) as cluster:
            try:
                await until_told(Fleet(cluster, journal, settings.seed).run())
            finally:
                server.shutdown()


if __name__ == "__main__":
    main()
