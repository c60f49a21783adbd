"""What the program is told of the shards: `surge:shards` in the base stack, `surge:shard` in a shard's."""

from surge.model.base import Strict

__all__ = ["Saturation", "Shard"]


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
