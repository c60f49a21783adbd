"""What filters of a class, or of a priority, share on a cluster: made once."""

# A module of pulumi_kubernetes is loaded where it is first named, also in an annotation that is evaluated; an
# update of one filter has no use for those of this file.
from __future__ import annotations

from collections.abc import Iterable

import pulumi
import pulumi_kubernetes as k8s

from surge.policy.disruption import MAX_UNAVAILABLE, PRIORITIES

__all__ = ["disruption_budgets", "priority_class", "priority_classes"]

JOB = "batch.kubernetes.io/job-name"


def priority_class(priority: str) -> str:
    """Its name: it is there once for the whole cluster, so it says whose it is."""
    return f"surge-{priority}"


def priority_classes(name: str, *, opts: pulumi.ResourceOptions) -> list[k8s.scheduling.v1.PriorityClass]:
    return [
        k8s.scheduling.v1.PriorityClass(
            f"{name}-{priority}",
            metadata={"name": priority_class(priority)},
            value=precedence.value,
            preemption_policy=precedence.preempts,
            global_default=False,
            description=f"Filters of priority {priority}",
            opts=opts,
        )
        for priority, precedence in PRIORITIES.items()
    ]


def disruption_budgets(
    name: str, classes: Iterable[str], namespace: str, *, opts: pulumi.ResourceOptions
) -> list[k8s.policy.v1.PodDisruptionBudget]:
    """One budget for all workers of a class.

    Pods of Jobs have no budget: Kubernetes works one out for what has replicas only, and would grant
    nobody anything. A worker that is not Ready serves nobody, so it may always go: a drain never
    waits for a warm-up.
    """
    return [
        k8s.policy.v1.PodDisruptionBudget(
            f"{name}-{kind}",
            metadata={"name": kind, "namespace": namespace, "labels": {"surge.dev/class": kind}},
            spec={
                "max_unavailable": MAX_UNAVAILABLE[kind],
                "selector": {
                    "match_labels": {"surge.dev/class": kind},
                    "match_expressions": [{"key": JOB, "operator": "DoesNotExist"}],
                },
                "unhealthy_pod_eviction_policy": "AlwaysAllow",
            },
            opts=opts,
        )
        for kind in sorted(classes)
    ]
