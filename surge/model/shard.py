"""What the program is told of the shards: `surge:shards` in the base stack, `surge:shard` in a shard's."""

from surge.model.base import Strict

__all__ = ["ONLY", "Saturation", "Shard"]

# Environment variable: the services, with commas, that a shard's program declares, and no other; all when it
# is empty. Set for each engine operation anew: a whole update with a name in it would delete the others.
ONLY = "SURGE_ONLY"


class Saturation(Strict):
    """Where a shard's filters are read: see components.saturation.SaturationOutputs."""

    url: str
    authentication: str
    auth_modes: str


class Shard(Strict):
    """Shard `index` of `shards`, on the cluster of stack `base`.

    services: of each a digest of all that shapes it.
    """

    base: str
    index: int
    shards: int
    saturation: Saturation
    services: dict[str, str]
