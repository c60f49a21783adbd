"""Reads workers, HPAs and Jobs of all filters from the API server, in three requests."""

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import urllib3
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

__all__ = ["KubernetesClient", "NoAnswerError", "Workers"]

NAMESPACE = "filters"
# KEDA puts it on the Jobs it makes.
JOB_OF = "scaledjob.keda.sh/name"
TIMEOUT_S = 5


class NoAnswerError(Exception):
    """The API server does not answer, or refuses."""


@dataclass(frozen=True, kw_only=True)
class Workers:
    """desired: replicas asked for, or active pods of Jobs; ready: Ready; conditions: of the HPA, None when
    there is none."""

    desired: int | None = None
    ready: int | None = None
    conditions: Sequence[Mapping[str, str]] | None = None


class KubernetesClient:
    """kubeconfig: its text. Key and certificate lie in a private folder while the client is open."""

    def __init__(self, kubeconfig: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="surge-")
        self._api = config.new_client_from_config_dict(
            yaml.safe_load(kubeconfig), persist_config=False, temp_file_path=self._folder.name
        )
        # One try per reading: the next reading is a second away, and retries would hold up the table.
        self._api.configuration.retries = urllib3.Retry(0)
        self._api = client.ApiClient(self._api.configuration)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._api.close()
        self._folder.cleanup()

    def workers(self) -> dict[str, Workers]:
        """Return what is known of each filter, by name. Raises NoAnswerError."""
        try:
            deployments = client.AppsV1Api(self._api).list_namespaced_deployment(
                NAMESPACE, _request_timeout=TIMEOUT_S
            )
            scalers = client.AutoscalingV2Api(self._api).list_namespaced_horizontal_pod_autoscaler(
                NAMESPACE, _request_timeout=TIMEOUT_S
            )
            jobs = client.BatchV1Api(self._api).list_namespaced_job(
                NAMESPACE, label_selector=JOB_OF, _request_timeout=TIMEOUT_S
            )
        except ApiException as error:
            raise NoAnswerError(f"the API server refuses: {error.status} {error.reason}") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise NoAnswerError(f"the API server does not answer: {_short(error)}") from error
        return put_together(deployments.items, scalers.items) | workers_of_jobs(jobs.items)


def put_together(deployments: Sequence[Any], scalers: Sequence[Any]) -> dict[str, Workers]:
    """Return what a Deployment and the HPA that sizes it say, by the Deployment's name."""
    hpas = {item.spec.scale_target_ref.name: item for item in scalers}
    return {item.metadata.name: _workers(item, hpas.get(item.metadata.name)) for item in deployments}


def workers_of_jobs(jobs: Sequence[Any]) -> dict[str, Workers]:
    """Return the pods of each ScaledJob's Jobs, by its name. Finished Jobs have none that is active."""
    active: Counter[str] = Counter()
    ready: Counter[str] = Counter()
    for job in jobs:
        name = job.metadata.labels[JOB_OF]
        active[name] += job.status.active or 0
        ready[name] += job.status.ready or 0
    return {name: Workers(desired=count, ready=ready[name]) for name, count in active.items()}


def _workers(deployment: Any, hpa: Any) -> Workers:
    conditions = None
    if hpa is not None:
        conditions = [
            {
                "type": each.type,
                "status": each.status,
                "reason": each.reason or "",
                "message": each.message or "",
            }
            for each in (hpa.status.conditions if hpa.status else None) or []
        ]
    return Workers(
        desired=deployment.spec.replicas,
        ready=deployment.status.ready_replicas or 0,
        conditions=conditions,
    )


def _short(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason).rpartition(": ")[2][:200]
