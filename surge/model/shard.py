"""What the program is told of the shards: `surge:shards` in the base stack, `surge:shard` in a shard's."""

from surge.model.base import Strict

__all__ = ["ONLY", "Saturation", "Shard"]

# Environment variable: the services, with commas, that a shard's program declares, and no other. Set for one
# engine operation that is confined to them, and nowhere else: a whole update would delete the others.
ONLY = "SURGE_ONLY"


class Saturation(Strict):
    """Where a shard's filters are read: see components.saturation.SaturationOutputs."""

    url: str
    authentication: str
    auth_modes: str


class Shard(Strict):
    """Shard `index` of `shards`, on the cluster of stack `base`.

    common, services: digests of what shapes every service of it, and of each service's own entries.
    """

    base: str
    index: int
    shards: int
    saturation: Saturation
    common: str
    services: dict[str, str]
