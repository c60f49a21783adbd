"""`python -m lab.hami --config FILE`: serve kube-scheduler until SIGTERM."""

import argparse
import asyncio
import logging
import signal
from pathlib import Path

import structlog

from lab.hami.cluster import Cluster
from lab.hami.service import Service
from lab.hami.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.hami", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="JSON file, see lab/hami/settings.py")
    settings = Settings.read(parser.parse_args().config)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
    )
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    async with Cluster(settings.kubeconfig, settings.lock_expires_s) as cluster:
        service = asyncio.create_task(Service(cluster, settings).run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, service.cancel)
        await asyncio.gather(service, return_exceptions=True)
        if not service.cancelled() and (error := service.exception()) is not None:
            raise error


if __name__ == "__main__":
    main()
