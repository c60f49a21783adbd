"""A batch filter's folder on the volume that all its workers share, for checkpoints and records."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi_kubernetes as k8s

from surge.model import Filter

__all__ = ["SharedFolder", "shared_folder"]

SHARED = "/var/surge/shared"


@dataclass(frozen=True, kw_only=True)
class SharedFolder:
    mounts: Sequence[k8s.core.v1.VolumeMountArgsDict] = ()
    volumes: Sequence[k8s.core.v1.VolumeArgsDict] = ()

    @property
    def environment(self) -> dict[str, str]:
        return {"SURGE_SHARED": SHARED} if self.mounts else {}


def shared_folder(item: Filter, claim: str | None) -> SharedFolder:
    """Nothing without a claim, and for work that is too short to be worth a checkpoint."""
    if claim is None or item.service_class != "batch":
        return SharedFolder()
    # Where the worker library looks: a folder of the filter's name, and of nobody else's.
    return SharedFolder(
        mounts=[{"name": "shared", "mount_path": f"{SHARED}/{item.name}", "sub_path": item.name}],
        volumes=[{"name": "shared", "persistent_volume_claim": {"claim_name": claim}}],
    )
