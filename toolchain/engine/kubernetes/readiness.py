"""When an object is ready: one rule per kind, and the two forms of `pulumi.com/waitFor`.

A rule looks at the live object (and, through `around`, at others) and says how far it is. A
kind without a rule is ready as soon as it is applied.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from .kinds import Kind
from .naming import WAIT_FOR, annotation
from .problems import ProblemError

__all__ = ["Around", "Progress", "Rule", "pod_reasons", "rule_for"]

Object = dict[str, Any]


class Around(Protocol):
    """What else is on the cluster."""

    def read(self, kind: Kind, name: str, namespace: str) -> Object | None: ...

    def matching(self, kind: Kind, namespace: str, labels: dict[str, str]) -> list[Object]: ...


@dataclass(frozen=True)
class Progress:
    state: Literal["ready", "waiting", "failed"]
    message: str = ""


Rule = Callable[[Object, Around], Progress]
READY = Progress("ready")
SLICES = Kind("discovery.k8s.io/v1", "EndpointSlice")
STORAGE_CLASS = Kind("storage.k8s.io/v1", "StorageClass")


def rule_for(kind: Kind, inputs: Object) -> Rule | None:
    """The annotation's rule, else the kind's, else None. Raises ProblemError for a waitFor it cannot read."""
    wanted = annotation(inputs, WAIT_FOR)
    return _wait_for(wanted) if wanted else RULES.get((kind.group, kind.name))


def deployment(obj: Object, _around: Around) -> Progress:
    spec, status = obj["spec"], obj.get("status", {})
    if not _observed(obj) or spec.get("paused"):
        return READY if spec.get("paused") else _waiting("not seen by its controller yet")
    stuck = _condition(obj, "Progressing")
    if stuck.get("reason") == "ProgressDeadlineExceeded":
        return Progress("failed", f"rollout made no progress: {stuck.get('message', '')}")
    wanted = spec.get("replicas", 1)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if updated < wanted:
        return _waiting(f"{updated} of {wanted} replicas updated")
    if status.get("replicas", 0) > updated:
        return _waiting(f"{status['replicas'] - updated} old replicas still to go")
    return READY if available >= wanted else _waiting(f"{available} of {wanted} replicas available")


def stateful_set(obj: Object, _around: Around) -> Progress:
    spec, status = obj["spec"], obj.get("status", {})
    if not _observed(obj):
        return _waiting("not seen by its controller yet")
    wanted, strategy = spec.get("replicas", 1), spec.get("updateStrategy", {})
    ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    if strategy.get("type") != "OnDelete":
        partition = strategy.get("rollingUpdate", {}).get("partition", 0)
        if updated < wanted - partition:
            return _waiting(f"{updated} of {wanted - partition} replicas updated")
        if not partition and status.get("currentRevision") != status.get("updateRevision"):
            return _waiting("old replicas still to go")
    return READY if ready >= wanted else _waiting(f"{ready} of {wanted} replicas ready")


def daemon_set(obj: Object, _around: Around) -> Progress:
    status = obj.get("status", {})
    if not _observed(obj):
        return _waiting("not seen by its controller yet")
    wanted, available = status.get("desiredNumberScheduled", 0), status.get("numberAvailable", 0)
    updated = status.get("updatedNumberScheduled", 0)
    if obj["spec"].get("updateStrategy", {}).get("type") != "OnDelete" and updated < wanted:
        return _waiting(f"{updated} of {wanted} pods updated")
    return READY if available >= wanted else _waiting(f"{available} of {wanted} pods available")


def job(obj: Object, _around: Around) -> Progress:
    failed = _condition(obj, "Failed")
    if failed.get("status") == "True":
        return Progress("failed", f"job failed: {failed.get('reason')}: {failed.get('message', '')}")
    if _condition(obj, "Complete").get("status") == "True" or obj["spec"].get("suspend"):
        return READY
    status = obj.get("status", {})
    wanted = obj["spec"].get("completions", 1)
    return _waiting(
        f"{status.get('succeeded', 0)} of {wanted} completions, {status.get('active', 0)} pods active"
    )


def pod(obj: Object, _around: Around) -> Progress:
    phase = obj.get("status", {}).get("phase", "Pending")
    if phase == "Failed":
        return Progress("failed", f"pod failed: {'; '.join(pod_reasons([obj])) or phase}")
    if phase == "Succeeded" or _condition(obj, "Ready").get("status") == "True":
        return READY
    return _waiting("; ".join(pod_reasons([obj])) or f"pod is {phase}")


def replication_controller(obj: Object, _around: Around) -> Progress:
    wanted, ready = obj["spec"].get("replicas", 1), obj.get("status", {}).get("readyReplicas", 0)
    if not _observed(obj):
        return _waiting("not seen by its controller yet")
    return READY if ready >= wanted else _waiting(f"{ready} of {wanted} replicas ready")


def service(obj: Object, around: Around) -> Progress:
    spec = obj["spec"]
    if spec.get("type") == "ExternalName":
        return READY
    if spec.get("type") == "LoadBalancer" and not _ingress(obj):
        return _waiting("no load balancer address yet")
    if spec.get("clusterIP") == "None" or not spec.get("selector"):
        return READY
    metadata = obj["metadata"]
    slices = around.matching(SLICES, metadata["namespace"], {"kubernetes.io/service-name": metadata["name"]})
    endpoints = [endpoint for one in slices for endpoint in one.get("endpoints") or []]
    if any(endpoint.get("conditions", {}).get("ready") is not False for endpoint in endpoints):
        return READY
    return _waiting("its selector matches no ready pod yet")


def ingress(obj: Object, _around: Around) -> Progress:
    return READY if _ingress(obj) else _waiting("no load balancer address yet")


def volume(obj: Object, _around: Around) -> Progress:
    phase = obj.get("status", {}).get("phase", "Pending")
    return READY if phase in {"Available", "Bound"} else _waiting(f"volume is {phase}")


def claim(obj: Object, around: Around) -> Progress:
    phase = obj.get("status", {}).get("phase", "Pending")
    if phase == "Bound":
        return READY
    storage_class = obj["spec"].get("storageClassName")
    found = around.read(STORAGE_CLASS, storage_class, "") if storage_class else None
    if found and found.get("volumeBindingMode") == "WaitForFirstConsumer":
        return READY
    return _waiting(f"claim is {phase}")


def secret(obj: Object, _around: Around) -> Progress:
    if obj.get("type") != "kubernetes.io/service-account-token" or obj.get("data", {}).get("token"):
        return READY
    return _waiting("no token yet")


def definition(obj: Object, _around: Around) -> Progress:
    refused = _condition(obj, "NamesAccepted")
    if refused.get("status") == "False":
        return Progress("failed", f"names not accepted: {refused.get('message', '')}")
    return _true(obj, "Established")


def api_service(obj: Object, _around: Around) -> Progress:
    return _true(obj, "Available")


RULES: dict[tuple[str, str], Rule] = {
    ("", "PersistentVolume"): volume,
    ("", "PersistentVolumeClaim"): claim,
    ("", "Pod"): pod,
    ("", "ReplicationController"): replication_controller,
    ("", "Secret"): secret,
    ("", "Service"): service,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): definition,
    ("apiregistration.k8s.io", "APIService"): api_service,
    ("apps", "DaemonSet"): daemon_set,
    ("apps", "Deployment"): deployment,
    ("apps", "StatefulSet"): stateful_set,
    ("batch", "Job"): job,
    ("networking.k8s.io", "Ingress"): ingress,
}


def pod_reasons(pods: list[Object]) -> list[str]:
    """Why these pods are not ready, the same reason of several pods once, with their number."""
    counted: dict[str, int] = {}
    for one in pods:
        for reason in _reasons(one):
            counted[reason] = counted.get(reason, 0) + 1
    return [f"{reason} ({number} pods)" if number > 1 else reason for reason, number in counted.items()]


def _reasons(one: Object) -> list[str]:
    status = one.get("status", {})
    scheduled = _condition(one, "PodScheduled")
    if scheduled.get("status") == "False":
        return [f"{scheduled.get('reason')}: {scheduled.get('message', '')}"]
    reasons = []
    for container in (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or []):
        state = container.get("state", {})
        stopped = state.get("waiting") or state.get("terminated") or {}
        if not container.get("ready") and stopped.get("reason") not in {
            None,
            "Completed",
            "ContainerCreating",
        }:
            reasons.append(
                f"container {container['name']}: {stopped['reason']}: {stopped.get('message', '')}".rstrip(
                    ": "
                )
            )
    if not reasons and status.get("reason"):
        reasons.append(f"{status['reason']}: {status.get('message', '')}")
    return reasons


def _wait_for(text: str) -> Rule:
    """`condition=Type[=Status]`, `jsonpath={.path}[=value]`, or a JSON list of them, which must all hold."""
    try:
        parts = json.loads(text) if text.lstrip().startswith("[") else [text]
    except ValueError:
        parts = [text]
    rules = [_one_wait_for(str(part)) for part in parts]

    def all_hold(obj: Object, around: Around) -> Progress:
        return next((step for rule in rules if (step := rule(obj, around)) != READY), READY)

    return all_hold


def _one_wait_for(text: str) -> Rule:
    how, _, what = text.partition("=")
    if how == "condition" and what:
        name, _, status = what.partition("=")
        return lambda obj, _around: _true(obj, name, status or "True")
    path = (
        re.fullmatch(r"\{?((?:\.[\w-]+|\[\d+\]|\['[^']+'\])+)\}?(?:=(.*))?", what)
        if how == "jsonpath"
        else None
    )
    if path is None:
        raise ProblemError(
            f"annotation {WAIT_FOR}: {text!r} is not understood. Write condition=Ready, "
            f"condition=Ready=False, jsonpath={{.status.phase}} or jsonpath={{.status.phase}}=Running"
        )
    steps = re.findall(r"\.([\w-]+)|\[(\d+)\]|\['([^']+)'\]", path[1])
    wanted = path[2]

    def at_path(obj: Object, _around: Around) -> Progress:
        found = _walk(obj, steps)
        shown = found if isinstance(found, str) else json.dumps(found)
        done = found is not None if wanted is None else shown == wanted
        return (
            READY
            if done
            else _waiting(f"{path[1]} is {shown}" + (f", not {wanted}" if wanted is not None else ""))
        )

    return at_path


def _walk(value: Any, steps: list[tuple[str, str, str]]) -> Any:
    for name, index, quoted in steps:
        if index:
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
        else:
            value = value.get(name or quoted) if isinstance(value, dict) else None
    return value


def _true(obj: Object, name: str, status: str = "True") -> Progress:
    found = _condition(obj, name)
    if found.get("status") == status:
        return READY
    why = ": ".join(filter(None, (found.get("reason"), found.get("message"))))
    return _waiting(f"condition {name} is {found.get('status', 'absent')}" + (f" ({why})" if why else ""))


def _condition(obj: Object, name: str) -> Object:
    conditions = obj.get("status", {}).get("conditions") or []
    return next((item for item in conditions if item.get("type") == name), {})


def _observed(obj: Object) -> bool:
    return obj.get("status", {}).get("observedGeneration", 0) >= obj["metadata"].get("generation", 0)


def _ingress(obj: Object) -> bool:
    return bool(obj.get("status", {}).get("loadBalancer", {}).get("ingress"))


def _waiting(message: str) -> Progress:
    return Progress("waiting", message)
