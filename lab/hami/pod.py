"""A pod as HAMi's scheduler reads it: what its containers ask for, and the cards it has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from surge.policy.gpu import Pod, Request, request_of
from surge.policy.gpu.hami import Policy
from surge.policy.gpu.protocol import ALLOCATED, GPU_POLICY, NODE

__all__ = ["OVER", "Asked", "granted_to"]

OVER = ("Succeeded", "Failed")
POD_GROUP = "scheduling.x-k8s.io/pod-group"


@dataclass(frozen=True)
class Asked:
    """init, containers: in order, None for a container without a card. patient: of a pod group."""

    uid: str
    init: tuple[Request | None, ...]
    containers: tuple[Request | None, ...]
    policy: Policy
    patient: bool

    @classmethod
    def of(cls, pod: Mapping[str, Any]) -> Self:
        metadata, spec = pod["metadata"], pod["spec"]
        spread = metadata.get("annotations", {}).get(GPU_POLICY) == "spread"
        return cls(
            metadata["uid"],
            _requests(spec.get("initContainers") or ()),
            _requests(spec["containers"]),
            "spread" if spread else "binpack",
            POD_GROUP in metadata.get("labels", {}),
        )

    @property
    def pod(self) -> Pod:
        return Pod(_asking(self.containers), _asking(self.init))

    @property
    def all(self) -> tuple[Request | None, ...]:
        """As in HAMi's annotations."""
        return (*self.init, *self.containers)


def granted_to(pod: Mapping[str, Any]) -> tuple[str, str] | None:
    """Node and ALLOCATED of a pod that HAMi has placed and that is not over."""
    annotations = pod["metadata"].get("annotations", {})
    if ALLOCATED not in annotations or pod["status"].get("phase") in OVER:
        return None
    return annotations.get(NODE, ""), annotations[ALLOCATED]


def _requests(containers: Sequence[Mapping[str, Any]]) -> tuple[Request | None, ...]:
    return tuple(request_of(each.get("resources", {}).get("limits", {})) for each in containers)


def _asking(requests: Sequence[Request | None]) -> tuple[Request, ...]:
    return tuple(each for each in requests if each is not None)
