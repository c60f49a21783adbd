"""A worker pod as the kubelet reads it: its environment, its volumes, its end."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from worker.settings import read_members

__all__ = ["FILTER_LABEL", "Pod", "completed", "status"]

FILTER_LABEL = "surge.dev/filter"
OVER = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Pod:
    """service_s, warmup_s, longest_job_s: wall seconds. ends_at: unix time when its grace is over.

    members: of a worker set, the queue of each filter; services: its service_s.
    ready: what its status says, None before there is a status. shift_s: of a Job's, when it ends by itself.
    """

    uid: str
    name: str
    filter: str
    queue: str
    members: Mapping[str, str]
    slots: int
    priority: int
    secret: str
    container: str
    image: str
    service_s: float
    services: Mapping[str, float]
    warmup_s: float
    longest_job_s: float
    ends_at: float | None
    ready: bool | None
    shift_s: float | None

    @classmethod
    def of(cls, pod: Mapping[str, Any]) -> Self | None:
        """None for pods that are not scheduled yet, or are over. Raises KeyError for pods of others."""
        if not pod["spec"].get("nodeName") or pod["status"].get("phase") in OVER:
            return None
        meta, container = pod["metadata"], pod["spec"]["containers"][0]
        environment = {item["name"]: item.get("value", "") for item in container["env"]}
        times = {key: float(meta["annotations"][f"lab.surge.dev/{key}"]) for key in TIMES}
        members = read_members(environment.get("SURGE_MEMBERS", ""))
        [secret] = [item["secret"]["secretName"] for item in pod["spec"]["volumes"] if "secret" in item]
        return cls(
            uid=meta["uid"],
            name=meta["name"],
            filter=meta["labels"][FILTER_LABEL],
            queue=environment["SURGE_QUEUE"],
            members=members,
            slots=int(environment["SURGE_SLOTS"]),
            priority=int(environment["SURGE_PRIORITY"]),
            secret=secret,
            container=container["name"],
            image=container["image"],
            service_s=times["service-s"],
            services={each: float(meta["annotations"][SERVICE_OF + each]) for each in members},
            warmup_s=times["warmup-s"],
            longest_job_s=times["longest-job-s"],
            ends_at=_unix(meta.get("deletionTimestamp")),
            ready=_ready(pod["status"]),
            shift_s=float(environment["SURGE_SHIFT_S"]) if "SURGE_SHIFT_S" in environment else None,
        )


SERVICE_OF = "service-s.lab.surge.dev/"
TIMES = ("service-s", "warmup-s", "longest-job-s")


def status(pod: Pod, *, ready: bool, address: str, started_at: str) -> dict[str, Any]:
    """The status a kubelet reports of a running pod, as a strategic merge patch."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    truth = "True" if ready else "False"
    conditions = {"Initialized": "True", "ContainersReady": truth, "Ready": truth}
    return {
        "status": {
            "phase": "Running",
            "startTime": started_at,
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [
                {"type": kind, "status": value, "lastTransitionTime": now}
                for kind, value in conditions.items()
            ],
            "containerStatuses": [
                {
                    "name": pod.container,
                    "image": pod.image,
                    "imageID": "",
                    "ready": ready,
                    "started": ready,
                    "restartCount": 0,
                    "state": {"running": {"startedAt": started_at}},
                }
            ],
        }
    }


def completed(pod: Pod, *, started_at: str) -> dict[str, Any]:
    """The status of a pod whose worker has exited with 0."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ended = {"exitCode": 0, "reason": "Completed", "startedAt": started_at, "finishedAt": now}
    return {
        "status": {
            "phase": "Succeeded",
            "conditions": [
                {"type": kind, "status": "False", "reason": "PodCompleted", "lastTransitionTime": now}
                for kind in ("ContainersReady", "Ready")
            ],
            "containerStatuses": [
                {
                    "name": pod.container,
                    "image": pod.image,
                    "imageID": "",
                    "ready": False,
                    "started": False,
                    "restartCount": 0,
                    "state": {"terminated": ended},
                }
            ],
        }
    }


def _ready(state: Mapping[str, Any]) -> bool | None:
    if "startTime" not in state:
        return None
    return any(item["type"] == "Ready" and item["status"] == "True" for item in state.get("conditions", []))


def _unix(stamp: str | None) -> float | None:
    return None if stamp is None else datetime.fromisoformat(stamp).timestamp()
