"""config.json of the process, see scale_in/settings.py."""

import json
from collections.abc import Sequence

from surge.model import Settings

__all__ = ["config"]

TICK_S = 2.0


def config(
    settings: Settings,
    namespace: str,
    *,
    management: Sequence[str],
    vhost: str,
    metrics_host: str,
    metrics_port: int,
    ca: str | None = None,
) -> str:
    """namespace: of the filters. management: the broker's listeners; ca: file with their authority."""
    wall = settings.time_scale.wall
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
            "leave": sorted(settings.scale_in.leave),
        },
        indent=1,
    )
