"""What a saturation server of either kind hands to the filters."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

__all__ = ["SaturationOutputs"]


@dataclass(frozen=True, kw_only=True)
class SaturationOutputs:
    """url: without a trailing slash. authentication: name of the ClusterTriggerAuthentication for KEDA,
    auth_modes: what a trigger uses of it, as metrics-api takes them."""

    url: str
    token: pulumi.Output[str]
    authority: pulumi.Output[str]
    authentication: str
    auth_modes: str
    ready: Sequence[pulumi.Resource]
