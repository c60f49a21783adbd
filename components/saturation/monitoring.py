"""What the Prometheus operator is told of the saturation server."""

from pathlib import Path
from typing import Any

import yaml

from components.saturation.pods import LABELS, NAME

__all__ = ["rules", "service_monitor"]

ALERTS = Path(__file__).parents[2] / "alerts" / "saturation.yaml"


def service_monitor(host: str) -> dict[str, Any]:
    """host: the name in the server's certificate. The job is called as the alerts expect it."""
    return {
        "jobLabel": "app.kubernetes.io/name",
        "selector": {"matchLabels": LABELS},
        "endpoints": [
            {
                "port": "https",
                "scheme": "https",
                "interval": "15s",
                "tlsConfig": {"ca": {"configMap": {"name": NAME, "key": "ca.crt"}}, "serverName": host},
            }
        ],
    }


def rules() -> dict[str, Any]:
    """The spec of a PrometheusRule: alerts/saturation.yaml as it is."""
    return yaml.load(ALERTS.read_text(), yaml.CSafeLoader)
