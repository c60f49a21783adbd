"""The volumes that models are read from: one and its claim per share, and for the nodes' cache."""

from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as k8s

from components.clusters.outputs import ClusterOutputs
from components.filter_service.model import CACHE, claim_name
from surge.model import Models

__all__ = ["ModelVolumes", "ModelVolumesArgs"]

# Neither an export nor a folder has a size, and Kubernetes asks for one.
SIZE = {"storage": "1Ti"}


@dataclass(frozen=True, kw_only=True)
class ModelVolumesArgs:
    cluster: ClusterOutputs
    models: Models
    namespace: k8s.core.v1.Namespace


class ModelVolumes(pulumi.ComponentResource):
    """Made once, whatever the number of filters. Shares that name a claim of others are left alone."""

    def __init__(self, name: str, args: ModelVolumesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("surge:fleet:ModelVolumes", name, None, opts)
        self._name = name
        self._args = args
        for share, where in sorted(args.models.shares.items()):
            if where.server is not None and where.path is not None:
                export: k8s.core.v1.PersistentVolumeSpecArgsDict = {
                    "nfs": {"server": where.server, "path": where.path, "read_only": True},
                    "mount_options": ["ro"],
                }
                self._volume(claim_name(share), export, "ReadOnlyMany")
        if args.models.cache is not None:
            # By way of a claim: a host path in the pod itself is against the restricted standard.
            self._volume(
                CACHE, {"host_path": {"path": args.models.cache, "type": "Directory"}}, "ReadWriteMany"
            )
        self.register_outputs({})

    def _volume(self, claim: str, source: k8s.core.v1.PersistentVolumeSpecArgsDict, access: str) -> None:
        """Each names the other: no claim of others takes the volume, and no provisioner makes another."""
        cluster, namespace = self._args.cluster, self._args.namespace
        where = namespace.metadata["name"]
        volume = k8s.core.v1.PersistentVolume(
            f"{self._name}-{claim}",
            metadata={"name": claim},
            spec={
                **source,
                "capacity": SIZE,
                "access_modes": [access],
                "persistent_volume_reclaim_policy": "Retain",
                "storage_class_name": "",
                "claim_ref": {"namespace": where, "name": claim},
            },
            opts=cluster.child_of(self, [namespace]),
        )
        k8s.core.v1.PersistentVolumeClaim(
            f"{self._name}-{claim}",
            metadata={"name": claim, "namespace": where},
            spec={
                "access_modes": [access],
                "resources": {"requests": SIZE},
                "storage_class_name": "",
                "volume_name": claim,
            },
            opts=cluster.child_of(self, [volume]),
        )
