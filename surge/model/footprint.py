"""What filters take: GPUs at their fewest and at their most workers, money for them, cards of each pool."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from surge.model.capacity import home
from surge.model.filter import Filter
from surge.model.settings import Settings
from surge.model.worker_sets import one_per_set
from surge.policy.gpu import Packing, Pool, Shape, pack, workers_on

__all__ = ["Footprint", "footprint", "footprints", "packings"]


@dataclass(frozen=True)
class Footprint:
    """GPUs at min and at max; parts of cards count as parts.

    money_least, money_most: an hour, in the unit of the settings' prices; None without a price.
    """

    least: float = 0.0
    most: float = 0.0
    money_least: float | None = 0.0
    money_most: float | None = 0.0

    def __add__(self, other: Self) -> "Footprint":
        return Footprint(
            self.least + other.least,
            self.most + other.most,
            _sum(self.money_least, other.money_least),
            _sum(self.money_most, other.money_most),
        )


def footprint(filters: Iterable[Filter], settings: Settings) -> Footprint:
    """Return what `filters` take together."""
    return sum(footprints(filters, settings).values(), Footprint())


def footprints(filters: Iterable[Filter], settings: Settings) -> dict[str, Footprint]:
    """Return what `filters` take on a stack, by the name of each filter or worker set.

    What runs elsewhere, and what no pool takes, takes nothing.
    """
    return {each.worker_set or each.name: _of(each, settings) for each in one_per_set(filters)}


def packings(filters: Iterable[Filter], settings: Settings) -> dict[Pool, tuple[Packing, Packing]]:
    """Return how the workers lie on each pool whose nodes are known: with all filters at min, and at max."""
    least: dict[Pool, Counter[Shape]] = {pool: Counter() for pool in settings.known_pools}
    most: dict[Pool, Counter[Shape]] = {pool: Counter() for pool in settings.known_pools}
    for each in one_per_set(filters):
        pool = home(each, settings)
        if pool in least:
            least[pool][each.shape] += each.min
            most[pool][each.shape] += each.max
    return {pool: (pack(least[pool], pool), pack(most[pool], pool)) for pool in least}


def _of(item: Filter, settings: Settings) -> Footprint:
    pool = home(item, settings)
    if pool is None:
        return Footprint()
    a_worker = pool.cards_per_node / workers_on(item.shape, pool)
    least, most = item.min * a_worker, item.max * a_worker
    price = settings.prices.get(pool.name)
    if price is None:
        return Footprint(least, most, None, None)
    return Footprint(least, most, least * price, most * price)


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
