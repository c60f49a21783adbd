"""`python -m lab.hami --config FILE`: serve kube-scheduler until SIGTERM."""

import argparse
import asyncio
from pathlib import Path

from lab.hami.cluster import Cluster
from lab.hami.service import Service
from lab.hami.settings import Settings
from lab.service import log_as_json, until_told


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.hami", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="JSON file, see lab/hami/settings.py")
    settings = Settings.read(parser.parse_args().config)
    log_as_json()
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    async with Cluster(settings.kubeconfig, settings.lock_expires_s) as cluster:
        await until_told(Service(cluster, settings).run())


if __name__ == "__main__":
    main()
