"""A filter's GPU shape as parts of its pods: where they run, what each container asks for, the trainer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi_kubernetes as k8s

from components.clusters.outputs import NodePool
from components.pod_security import UNPRIVILEGED
from surge.model import Filter
from surge.model.capacity import pool_of
from surge.policy.gpu import Fraction, Pair, Share, Whole, limits, protocol
from surge.policy.gpu.hami import EXCLUSIVE
from surge.policy.gpu.shapes import CORES, PAIR_LABEL

__all__ = ["GpuPart", "gpu_part"]

# The trainer leaves here what the worker reads.
HANDOVER = "/var/surge/handover"


@dataclass(frozen=True, kw_only=True)
class GpuPart:
    """home: the pool. hami: it serves other pools of the cluster, at least.

    limits, mounts: of the worker. before, beside: the trainer, where there is one.
    """

    home: NodePool
    hami: bool
    limits: Mapping[str, str]
    before: Sequence[k8s.core.v1.ContainerArgsDict] = ()
    beside: Sequence[k8s.core.v1.ContainerArgsDict] = ()
    mounts: Sequence[k8s.core.v1.VolumeMountArgsDict] = ()
    volumes: Sequence[k8s.core.v1.VolumeArgsDict] = ()

    @property
    def labels(self) -> dict[str, str]:
        """The verifier looks for pairs; HAMi's webhook would take pods of the plain plugin for its own."""
        if self.before or self.beside:
            return dict([PAIR_LABEL])
        return {"hami.io/webhook": "ignore"} if self.hami and self.home.pool.kind == "whole" else {}

    @property
    def annotations(self) -> dict[str, str]:
        """On the pod, so that no default of the scheduler can separate siblings."""
        pool = self.home.pool
        return {} if pool.kind == "whole" else {protocol.GPU_POLICY: pool.policy}

    def placed(self, spec: k8s.core.v1.PodSpecArgsDict) -> k8s.core.v1.PodSpecArgsDict:
        """`spec` with where the pod runs."""
        spec["node_selector"] = dict(self.home.labels)
        if self.home.tolerations:
            spec["tolerations"] = list(self.home.tolerations)
        if self.home.scheduler is not None:
            spec["scheduler_name"] = self.home.scheduler
        return spec


def gpu_part(item: Filter, pools: Mapping[str, NodePool]) -> GpuPart:
    """Raises ValueError when no pool takes the shape, KeyError when the filter's pool is not there."""
    pool, found = pool_of(item, [each.pool for each in pools.values()])
    if found:
        raise ValueError(f"filter {item.name}: {'; '.join(map(str, found))}")
    home, hami = pools[pool.name], any(each.pool.kind != "whole" for each in pools.values())
    match item.shape:
        case Whole() as whole:
            return GpuPart(home=home, hami=hami, limits=_whole(whole, home))
        case Fraction(share):
            return GpuPart(home=home, hami=hami, limits=limits(share))
        case Pair(trainer, worker, first):
            siblings = [_trainer(item, trainer)]
            return GpuPart(
                home=home,
                hami=hami,
                limits=limits(worker),
                before=siblings if first else (),
                beside=() if first else siblings,
                mounts=[_mount(read_only=True)],
                volumes=[{"name": "handover", "empty_dir": {}}],
            )


def _whole(whole: Whole, home: NodePool) -> dict[str, str]:
    """On a card that others share, as HAMi's webhook would write it: all cores, so that nobody does."""
    exclusive = {} if home.pool.kind == "whole" else {CORES: str(EXCLUSIVE)}
    return {**limits(whole), **exclusive}


def _trainer(item: Filter, share: Share) -> k8s.core.v1.ContainerArgsDict:
    if item.gpu is None or item.gpu.trainer is None:
        raise ValueError(f"filter {item.name} has no trainer: want gpu.trainer in its entry")
    return {
        "name": "trainer",
        "image": item.gpu.trainer.image,
        "env": [
            {"name": "SURGE_FILTER", "value": item.name},
            {"name": "SURGE_HANDOVER", "value": HANDOVER},
        ],
        "resources": {"limits": limits(share)},
        "security_context": UNPRIVILEGED,
        "volume_mounts": [_mount(read_only=False)],
    }


def _mount(*, read_only: bool) -> k8s.core.v1.VolumeMountArgsDict:
    return {"name": "handover", "mount_path": HANDOVER, "read_only": read_only}
