"""config.json of the process, see scale_in/settings.py."""

import json
from collections.abc import Sequence

from surge.model import Filter, Settings
from surge.policy.scale_in import WORTH_S

__all__ = ["config"]

TICK_S = 1.0


def config(
    settings: Settings,
    namespace: str,
    filters: Sequence[Filter],
    *,
    management: Sequence[str],
    vhost: str,
    metrics_host: str,
    metrics_port: int,
    ca: str | None = None,
) -> str:
    """filters: those of the cluster; namespace: theirs. management: the broker's listeners; ca: theirs."""
    wall = settings.time_scale.wall
    short = {item.worker_set or item.name for item in filters if item.service_s < WORTH_S}
    return json.dumps(
        {
            "kubeconfig": "kubeconfig",
            "namespace": namespace,
            "management": list(management),
            "vhost": vhost,
            "credentials": "credentials",
            "ca": ca,
            "metrics_host": metrics_host,
            "metrics_port": metrics_port,
            "look_s": wall(settings.cluster.hpa_sync_s),
            "tick_s": wall(TICK_S),
            "patches_per_s": settings.scale_in.patches_per_s,
            "leave": sorted(short | set(settings.scale_in.leave)),
        },
        indent=1,
    )
