"""Roles for the programs that talk to a cluster's API: each its own user with what it needs."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as k8s

__all__ = ["Rule", "cluster_role"]


@dataclass(frozen=True)
class Rule:
    """verbs on resources of one API group ("" is the core group)."""

    group: str
    resources: Sequence[str]
    verbs: Sequence[str]


def cluster_role(
    name: str,
    *,
    user: str,
    rules: Sequence[Rule] = (),
    paths: Sequence[str] = (),
    opts: pulumi.ResourceOptions,
) -> list[pulumi.Resource]:
    """A ClusterRole of `name` and its binding to `user`. paths: URLs it may GET, such as /metrics."""
    urls: list[k8s.rbac.v1.PolicyRuleArgsDict] = (
        [{"non_resource_urls": list(paths), "verbs": ["get"]}] if paths else []
    )
    role = k8s.rbac.v1.ClusterRole(
        name,
        metadata={"name": name},
        rules=[
            *(
                {"api_groups": [rule.group], "resources": list(rule.resources), "verbs": list(rule.verbs)}
                for rule in rules
            ),
            *urls,
        ],
        opts=opts,
    )
    binding = k8s.rbac.v1.ClusterRoleBinding(
        name,
        metadata={"name": name},
        role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        subjects=[{"api_group": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        opts=opts,
    )
    return [role, binding]
