"""A filter's model in its pods, always read-only: from a share, or copied by an init container."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import pulumi_kubernetes as k8s

from components.pod_security import UNPRIVILEGED
from surge.model import Models
from surge.model.model_stores import share_and_folder

__all__ = ["CACHE", "MODEL", "ModelPart", "claim_name", "model_part"]

MODEL = "/var/surge/model"
PULLED = "/var/surge/pulled"
SHARE = "/var/surge/share"
CACHE = "model-cache"


@dataclass(frozen=True, kw_only=True)
class ModelPart:
    before: Sequence[k8s.core.v1.ContainerArgsDict] = ()
    mounts: Sequence[k8s.core.v1.VolumeMountArgsDict] = ()
    volumes: Sequence[k8s.core.v1.VolumeArgsDict] = ()

    def shown_to(
        self, containers: Sequence[k8s.core.v1.ContainerArgsDict]
    ) -> list[k8s.core.v1.ContainerArgsDict]:
        """The same containers, which see the model too: a trainer starts from it."""
        shown: list[k8s.core.v1.ContainerArgsDict] = []
        for each in containers:
            own = each.get("volume_mounts")
            shown.append({**each, "volume_mounts": [*(own if isinstance(own, list) else ()), *self.mounts]})
        return shown


NOTHING = ModelPart()


def model_part(model: str | None, models: Models) -> ModelPart:
    """Raises KeyError for a share, ValueError for a puller that the settings do not name."""
    if model is None:
        return NOTHING
    place = share_and_folder(model)
    if place is None:
        return _pulled(model, models)
    name, folder = place
    share = models.shares[name]
    claim = share.claim or claim_name(name)
    if share.cached:
        return _pulled(model, models, _shared("model-share", claim, SHARE, folder))
    return _shared("model", claim, MODEL, folder)


def claim_name(share: str) -> str:
    return f"models-{share}"


def _shared(volume: str, claim: str, path: str, folder: str) -> ModelPart:
    return ModelPart(
        mounts=[_mount(volume, path, folder)],
        volumes=[{"name": volume, "persistent_volume_claim": {"claim_name": claim, "read_only": True}}],
    )


def _pulled(model: str, models: Models, source: ModelPart = NOTHING) -> ModelPart:
    """Both containers see one folder of the volume, named after the model: a cache holds many.

    source: the share that the puller copies from, when it is not to fetch an object.
    """
    if models.puller is None:
        raise ValueError(f"{model} needs a puller: set workers.models.puller")
    key = sha256(model.encode()).hexdigest()[:32]
    puller: k8s.core.v1.ContainerArgsDict = {
        "name": "model",
        "image": models.puller.image,
        "env": [
            {"name": "SURGE_MODEL_URL", "value": model},
            {"name": "SURGE_MODEL_INTO", "value": f"{PULLED}/{key}"},
            *([{"name": "SURGE_MODEL_FROM", "value": SHARE}] if source.mounts else ()),
        ],
        "security_context": UNPRIVILEGED,
        "volume_mounts": [{"name": "model", "mount_path": PULLED}, *source.mounts],
    }
    if models.puller.secret is not None:
        puller["env_from"] = [{"secret_ref": {"name": models.puller.secret}}]
    volume: k8s.core.v1.VolumeArgsDict = {"name": "model", "empty_dir": {}}
    if models.cache is not None:
        volume = {"name": "model", "persistent_volume_claim": {"claim_name": CACHE}}
    return ModelPart(before=[puller], mounts=[_mount("model", MODEL, key)], volumes=[volume, *source.volumes])


def _mount(volume: str, path: str, folder: str) -> k8s.core.v1.VolumeMountArgsDict:
    return {"name": volume, "mount_path": path, "sub_path": folder, "read_only": True}
