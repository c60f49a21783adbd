"""The component of a filter: the Deployment of its workers and the ScaledObject that sizes it, or Jobs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components.filter_service.job import scaled_job
from components.filter_service.placement import labels_of
from components.filter_service.pod import pod_template
from components.filter_service.scaling import scaled_object
from components.filter_service.shared import Shared
from surge.model import Filter

__all__ = ["FilterService", "FilterServiceArgs"]


@dataclass(frozen=True, kw_only=True)
class FilterServiceArgs:
    """digest: of all that shapes the service; None where nobody asks whether it has to be looked at."""

    filter: Filter
    shared: Shared
    depends_on: Sequence[pulumi.Resource] = ()
    digest: str | None = None


class FilterService(pulumi.ComponentResource):
    """Workers of one filter, sized by its signal; for long work that nobody waits for, Jobs.

    Replicas belong to the HPA, and no update touches them: it would reset a fleet in the middle of a
    spike. Only a filter that rests at zero says so when it is made: without a word a Deployment starts
    one worker, and 900 such filters would ask for 900 GPUs on their first day.

    The digest is an input once an update has begun, and an output once all its objects are as it says.
    """

    def __init__(
        self, name: str, args: FilterServiceArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        begun = None if args.digest is None else {"digest": args.digest}
        super().__init__("surge:fleet:FilterService", name, begun, opts)
        self._args = args
        self._metadata: k8s.meta.v1.ObjectMetaArgsDict = {
            "name": name,
            "namespace": args.shared.namespace,
            "labels": labels_of(args.filter),
            # One owner of its fields, whichever update wrote them: a killed one leaves none of its own.
            "annotations": {"pulumi.com/patchFieldManager": "surge"},
        }
        template = pod_template(args.filter, args.shared)
        self._made: list[pulumi.CustomResource] = []
        if args.filter.runs_as_jobs:
            self._scaled("ScaledJob", scaled_job(args.filter, args.shared, template))
        else:
            self._deployment(template)
            self._scaled("ScaledObject", scaled_object(args.filter, args.shared))
        self.register_outputs({} if args.digest is None else {"digest": self._finished(args.digest)})

    def _deployment(self, template: k8s.core.v1.PodTemplateSpecArgsDict) -> None:
        name = self._args.filter.name
        workers = k8s.apps.v1.Deployment(
            name,
            metadata=self._metadata,
            spec={
                "replicas": 0 if self._args.filter.min == 0 else None,
                "selector": {"match_labels": {"surge.dev/filter": name}},
                "strategy": {
                    "type": "RollingUpdate",
                    "rolling_update": {"max_unavailable": 0, "max_surge": "25%"},
                },
                "template": template,
            },
            opts=pulumi.ResourceOptions.merge(
                self._child(), pulumi.ResourceOptions(ignore_changes=["spec.replicas"])
            ),
        )
        self._made.append(workers)

    def _scaled(self, kind: str, spec: dict[str, Any]) -> None:
        scaling = k8s.apiextensions.CustomResource(
            self._args.filter.name,
            api_version="keda.sh/v1alpha1",
            kind=kind,
            metadata=self._metadata,
            spec=spec,
            opts=self._child(),
        )
        self._made.append(scaling)

    def _finished(self, digest: str) -> pulumi.Output[str]:
        """An object that could not be made has no id, and then there is no word of the digest."""
        return pulumi.Output.all(*[each.id for each in self._made]).apply(lambda _: digest)

    def _child(self) -> pulumi.ResourceOptions:
        return self._args.shared.cluster.child_of(self, self._args.depends_on)
