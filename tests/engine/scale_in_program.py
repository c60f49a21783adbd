"""A program with nothing but the marking process of a real cluster."""

from collections.abc import Callable
from typing import Any

import pulumi

from components.scale_in import ScaleIn, ScaleInArgs
from tests.engine.fleet_program import settings
from tests.engine.saturation_program import IMAGE, cluster

__all__ = ["program"]


def program(**changes: Any) -> Callable[[], ScaleIn]:
    """changes: to ScaleInArgs."""

    def run() -> ScaleIn:
        usual: dict[str, Any] = {
            "cluster": cluster(),
            "image": IMAGE,
            "settings": settings(scale_in={"leave": ["ghibli"]}),
            "filters": [],
            "filters_namespace": "filters",
            "namespace": "surge",
            "management": ["https://broker.rabbitmq.svc:15671"],
            "broker": [{"ip_block": {"cidr": "192.0.2.0/28"}}],
            "vhost": "surge",
            "monitors": [],
            "credentials": pulumi.Output.secret("scale-in:hidden"),
            "authority": "PEM",
        }
        return ScaleIn("one", ScaleInArgs(**{**usual, **changes}))

    return run
