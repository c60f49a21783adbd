"""The ScaledJob of a filter whose work is too long for workers that may be asked to leave."""

import re
from collections.abc import Mapping
from typing import Any

import pulumi_kubernetes as k8s

from components.filter_service.scaling import reading
from components.filter_service.shared import Shared
from surge.model import Filter
from surge.policy import scaling
from surge.policy.jobs import GOODBYE_S, shift_s

__all__ = ["scaled_job"]

POLL_S = 30
RETRIES = 3
KEPT = 3
SNAKE = re.compile(r"^[a-z]+(_[a-z]+)+$")
# Whoever shrinks the cluster leaves the pod's node alone until it is done.
STAYS = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}


def scaled_job(item: Filter, shared: Shared, template: k8s.core.v1.PodTemplateSpecArgsDict) -> dict[str, Any]:
    """As many Jobs as the filter needs workers; each ends with its shift.

    Strategy `default` makes what is wanted minus what runs, so a Job that warms up is not made
    again. An update leaves running Jobs alone.
    """
    return {
        "jobTargetRef": {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": RETRIES,
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
                ]
            },
            "template": _one_shift(item, shared, _camel(template)),
        },
        "pollingInterval": shared.scale.whole(POLL_S),
        "maxReplicaCount": item.max,
        "successfulJobsHistoryLimit": KEPT,
        "failedJobsHistoryLimit": KEPT,
        "rollout": {"strategy": "gradual"},
        "scalingStrategy": {"strategy": "default"},
        "triggers": scaling.job_triggers(reading(item, shared)),
    }


def _one_shift(item: Filter, shared: Shared, template: dict[str, Any]) -> dict[str, Any]:
    """The pod ends by itself; a deadline ends one that does not. It counts from the pod's start on its
    node, not from the Job's, which may wait for a GPU."""
    metadata, spec = template["metadata"], template["spec"]
    longest_s = 3 * item.warmup_s + shift_s(item.warmup_s) + item.longest_job_s + GOODBYE_S
    return {
        "metadata": {**metadata, "annotations": {**metadata["annotations"], **STAYS}},
        "spec": {
            **spec,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": shared.scale.whole(longest_s),
        },
    }


def _camel(value: Any) -> Any:
    """Typed arguments get their keys as on the wire from the engine; an untyped resource must bring them."""
    if isinstance(value, Mapping):
        return {_key(str(key)): _camel(each) for key, each in value.items()}
    return [_camel(each) for each in value] if isinstance(value, list) else value


def _key(text: str) -> str:
    if not SNAKE.match(text):
        return text
    first, *rest = text.split("_")
    return first + "".join(word.capitalize() for word in rest)
