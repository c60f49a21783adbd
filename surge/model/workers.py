"""Settings of the worker pods of a stack."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from surge.model.base import LABEL_SIGNS, DnsLabel, Strict
from surge.model.filter import image_by_digest
from surge.model.problems import shown

__all__ = ["Models", "Puller", "Share", "Workers"]


def _host(text: str) -> str:
    if not 1 <= len(text) <= 253 or not (LABEL_SIGNS | {".", ":"}).issuperset(text):
        raise ValueError(f"{shown(text)} is no host: want a DNS name or an address, such as nas.example")
    return text


def _folder(text: str) -> str:
    if not text.startswith("/") or ".." in text.split("/") or not text.isprintable() or len(text) > 500:
        raise ValueError(f"{shown(text)} is no folder: want an absolute path, such as /export/models")
    return text


Folder = Annotated[str, AfterValidator(_folder)]


class Share(Strict):
    """Where `nas://SHARE/...` lies: an NFS export, or a PersistentVolumeClaim that others keep.

    cached: the puller copies each model into the nodes' cache, and workers read it there.
    """

    server: Annotated[str, AfterValidator(_host)] | None = None
    path: Folder | None = None
    claim: DnsLabel | None = None
    cached: bool = False

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        export = self.server is not None and self.path is not None
        if ((self.server or self.path) and not export) or export == (self.claim is not None):
            raise ValueError("neither an export nor a claim: want server and path, or claim alone")
        return self


class Puller(Strict):
    """The init container that copies a model onto the node. secret: its keys are its environment."""

    image: Annotated[str, Field(max_length=500), AfterValidator(image_by_digest)]
    secret: DnsLabel | None = None


class Models(Strict):
    """shares: by the name in `nas://`. cache: a folder of every node that keeps what was copied; without it
    each pod pulls into a volume of its own."""

    shares: dict[DnsLabel, Share] = Field(default_factory=dict)
    puller: Puller | None = None
    cache: Folder | None = None

    @model_validator(mode="after")
    def _can_copy(self) -> Self:
        cached = sorted(name for name, share in self.shares.items() if share.cached)
        if cached and (self.puller is None or self.cache is None):
            raise ValueError(
                f"share {cached[0]} is cached, and nothing copies its models onto the nodes: want puller and "
                "cache, or no cached"
            )
        return self


class Workers(Strict):
    """What every worker pod says.

    runtime_class: RuntimeClass of the pods; without it the nodes' default runtime must know the GPUs.
    pull_secrets: Secrets in the filters' namespace, for registries that ask who pulls.
    pod_group: a label for which HAMi tries again after 0.1 s instead of 2 s when another pod holds its
    node's lock.
    shared_claim: PersistentVolumeClaim in the filters' namespace, of a volume that many nodes write, for
    checkpoints and records of batch work; each filter sees its own folder of it.
    """

    runtime_class: DnsLabel | None = None
    pull_secrets: list[DnsLabel] = Field(default_factory=list)
    pod_group: bool = True
    shared_claim: DnsLabel | None = None
    models: Models = Models()
