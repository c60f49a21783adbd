"""Does the catalogue fit into a local cluster's GPUs?"""

from collections.abc import Sequence

from surge.model.filter import Filter
from surge.model.problems import Path
from surge.model.settings import Settings

__all__ = ["capacity_problems"]


def capacity_problems(filters: Sequence[Filter], settings: Settings) -> list[tuple[Path, str]]:
    """Return (path in the catalogue, what does not fit); nothing for stacks that are not local.

    The maximums together may exceed the GPUs, filters peak at different times; the minimums
    together may not, nor may one filter's maximum.
    """
    if settings.stack_kind != "local":
        return []
    cluster = settings.cluster
    size = f"{cluster.nodes} nodes x {cluster.gpus_per_node} GPUs"
    problems: list[tuple[Path, str]] = []
    for each in filters:
        # A worker's GPUs must be on one node.
        most = cluster.nodes * (cluster.gpus_per_node // each.gpus)
        if each.max > most:
            text = (
                f"{each.max} workers of {each.gpus} GPU, but {size} hold {most}: the rest would stay "
                f"Pending; lower max, or raise cluster.nodes to {_nodes(each, cluster.gpus_per_node)}"
            )
            problems.append((("filters", each.name, "max"), text))
    least = sum(each.min * each.gpus for each in filters)
    if least > cluster.gpus:
        text = (
            f"the minimums of all filters need {least} GPUs, but {size} are {cluster.gpus}: "
            f"lower some min, or raise cluster.nodes to {-(-least // cluster.gpus_per_node)}"
        )
        problems.append((("filters",), text))
    return problems


def _nodes(each: Filter, gpus_per_node: int) -> str:
    a_node = gpus_per_node // each.gpus
    return str(-(-each.max // a_node)) if a_node else f"any number once gpus-per-node is {each.gpus} or more"
