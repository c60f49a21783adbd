"""Settings of the worker pods of a stack."""

from pydantic import Field

from surge.model.base import DnsLabel, Strict

__all__ = ["Workers"]


class Workers(Strict):
    """What every worker pod says.

    runtime_class: RuntimeClass of the pods; without it the nodes' default runtime must know the GPUs.
    pull_secrets: Secrets in the filters' namespace, for registries that ask who pulls.
    pod_group: a label for which HAMi tries again after 0.1 s instead of 2 s when another pod holds its
    node's lock.
    """

    runtime_class: DnsLabel | None = None
    pull_secrets: list[DnsLabel] = Field(default_factory=list)
    pod_group: bool = True
