"""Which pool takes a filter's workers, and does the catalogue fit into the GPUs that are known?"""

from collections import Counter
from collections.abc import Sequence

from surge.model.filter import Filter
from surge.model.problems import Path, did_you_mean
from surge.model.settings import OWN_POOL, Settings
from surge.model.worker_sets import one_per_set
from surge.policy.gpu import Pool, Refusal, Shape, Whole, home_of, pack, refusals, workers_on

__all__ = ["capacity_problems", "home", "pool_of"]


def pool_of(item: Filter, pools: Sequence[Pool]) -> tuple[Pool, list[Refusal]]:
    """The pool of a filter, and what it refuses in the filter's shape.

    Raises KeyError when the filter names a pool that is not there.
    """
    if item.gpu is None or item.gpu.pool is None:
        return home_of(item.shape, pools)
    pool = {pool.name: pool for pool in pools}[item.gpu.pool]
    return pool, refusals(item.shape, pool)


def home(item: Filter, settings: Settings) -> Pool | None:
    """The pool that takes a filter's workers on a stack; None when it runs elsewhere, or nowhere."""
    if not item.runs_at(settings.place):
        return None
    pool, found = _home(item, settings.cluster.gpu_pools)
    return None if found else pool


def capacity_problems(filters: Sequence[Filter], settings: Settings) -> list[tuple[Path, str]]:
    """Return (path in the catalogue, what no pool takes or what does not fit).

    The minimums together may not exceed the GPUs of a pool whose nodes are known. The maximums together
    may, as filters peak at different times; one filter's may not on a local stack, which cannot grow.
    """
    pools, known = settings.cluster.gpu_pools, settings.known_pools
    problems: list[tuple[Path, str]] = []
    at_home: dict[Pool, list[Filter]] = {pool: [] for pool in known}
    for each in (each for each in one_per_set(filters) if each.runs_at(settings.place)):
        pool, found = _home(each, pools)
        if each.gpu is not None or pool in known:
            problems += [(("filters", each.name, *key), text) for key, text in found]
        if pool in known and not found:
            at_home[pool].append(each)
    for pool, members in at_home.items():
        if settings.stack_kind == "local":
            problems += _maximums(members, pool)
        problems += _minimums(members, pool)
    return problems


def _home(each: Filter, pools: Sequence[Pool]) -> tuple[Pool | None, list[tuple[Path, str]]]:
    try:
        pool, found = pool_of(each, pools)
    except KeyError as error:
        name = error.args[0]
        hint = did_you_mean(name, [pool.name for pool in pools])
        return None, [(("gpu", "pool"), f'unknown pool "{name}"{hint}')]
    key = "gpus" if each.gpu is None else "gpu"
    return pool, [((key,), str(refusal)) for refusal in found]


def _maximums(filters: Sequence[Filter], pool: Pool) -> list[tuple[Path, str]]:
    a_node = {shape: workers_on(shape, pool) for shape in {each.shape for each in filters}}
    problems: list[tuple[Path, str]] = []
    for each in filters:
        holds = pool.nodes * a_node[each.shape]
        if each.max > holds:
            text = (
                f"{each.max} workers of {_size(each.shape)}, but {_described(pool)} hold {holds}: the rest "
                f"would stay Pending; lower max, or raise {_nodes_key(pool)} to "
                f"{-(-each.max // a_node[each.shape])}"
            )
            problems.append((("filters", each.name, "max"), text))
    return problems


def _minimums(filters: Sequence[Filter], pool: Pool) -> list[tuple[Path, str]]:
    wanted: Counter[Shape] = Counter()
    for each in filters:
        wanted[each.shape] += each.min
    if pool.kind == "whole":
        gpus = sum(shape.cards * count for shape, count in wanted.items() if isinstance(shape, Whole))
        if gpus <= pool.nodes * pool.cards_per_node:
            return []
        text = (
            f"the minimums of all filters need {gpus} GPUs, but {_described(pool)} are "
            f"{pool.nodes * pool.cards_per_node}: lower some min, or raise {_nodes_key(pool)} to "
            f"{-(-gpus // pool.cards_per_node)}"
        )
        return [(("filters",), text)]
    left = sum(pack(wanted, pool).unplaced.values())
    if not left:
        return []
    text = (
        f"the minimums of all filters in pool {pool.name} leave {left} workers without a place on "
        f"{_described(pool)}: lower some min, or raise {_nodes_key(pool)}"
    )
    return [(("filters",), text)]


def _described(pool: Pool) -> str:
    return f"{pool.nodes} nodes x {pool.cards_per_node} GPUs"


def _nodes_key(pool: Pool) -> str:
    return "cluster.nodes" if pool.name == OWN_POOL else f"cluster.pools.{pool.name}.nodes"


def _size(shape: Shape) -> str:
    return f"{shape.cards} GPU" if isinstance(shape, Whole) else "part of a GPU"
