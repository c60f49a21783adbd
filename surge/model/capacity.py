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
        a_node = cluster.gpus_per_node // each.gpus
        if a_node == 0:
            text = f"a worker of {each.gpus} GPUs fits on no node of {cluster.gpus_per_node}"
            problems.append((("filters", each.name, "gpus"), text))
        elif each.max > cluster.nodes * a_node:
            text = (
                f"{each.max} workers of {each.gpus} GPU, but {size} hold {cluster.nodes * a_node}: the rest "
                f"would stay Pending; lower max, or raise cluster.nodes to {-(-each.max // a_node)}"
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
