"""Waits for readiness and for deletion: they report, time out, and stop at once when cancelled."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from .cluster import Cluster, Object
from .kinds import Kind
from .naming import SKIP_AWAIT, TIMEOUT, annotation
from .problems import CancelledError, NotReadyError, UnreachableError
from .readiness import Progress, Rule, pod_reasons

__all__ = ["Wait", "timeout_s", "until_gone", "until_ready"]

# Looks start this close together and spread, 0.1 + 0.2 + 0.4 + 0.8 + 1 + 1 + ..., from ten seconds on to a
# tenth of the wait so far: two hundred workers that load their models are not asked for every second.
FIRST_LOOK_S, QUICK_LOOK_S, SLOWEST_LOOK_S = 0.1, 1.0, 10.0
SHARE_OF_THE_WAIT = 0.1
# An API server that restarts under us is back within this; longer means it is gone.
PATIENCE_S = 60

DEFAULT_S = 600.0
DEFAULTS_S = {
    ("", "PersistentVolume"): 300.0,
    ("", "PersistentVolumeClaim"): 300.0,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): 60.0,
}


@dataclass(frozen=True)
class Wait:
    """timeout_s: seconds for the whole wait. report: told what we wait for, whenever it changes."""

    timeout_s: float
    cancelled: Event
    report: Callable[[str], None]


def timeout_s(kind: Kind, inputs: Object, custom_s: float) -> float:
    """Seconds to wait, 0 for not at all: custom_s (0 when unset), else the annotation, else the default."""
    if annotation(inputs, SKIP_AWAIT) == "true":
        return 0.0
    text = annotation(inputs, TIMEOUT)
    annotated = float(text) if text.replace(".", "", 1).isdigit() else 0.0
    return custom_s or annotated or DEFAULTS_S.get((kind.group, kind.name), DEFAULT_S)


def until_ready(cluster: Cluster, kind: Kind, live: Object, rule: Rule, wait: Wait) -> Object:
    """The ready object. Raises NotReadyError, with the object as last seen, or CancelledError."""
    name, namespace = live["metadata"]["name"], live["metadata"].get("namespace", "")

    def look() -> tuple[Progress, Object]:
        nonlocal live
        found = cluster.read(kind, name, namespace)
        if found is None:
            return Progress("failed", "it was deleted while we waited for it"), live
        live = found
        return rule(live, cluster), live

    progress, live = _repeat((rule(live, cluster), live), look, wait)
    if progress.state == "ready":
        wait.report("ready")
        return live
    message, why = _failure(kind, live, progress, wait), [] if kind.name == "Pod" else _why(cluster, live)
    if wait.cancelled.is_set():
        raise CancelledError(message, live)
    raise NotReadyError("; ".join([message, *why]), live, why)


def until_gone(cluster: Cluster, kind: Kind, live: Object, wait: Wait) -> None:
    """Returns when the object is gone, or another one in its place. Raises NotReadyError: what holds it."""
    metadata = live["metadata"]
    name, namespace = metadata["name"], metadata.get("namespace", "")

    def look() -> tuple[Progress, Object]:
        found = cluster.read(kind, name, namespace)
        if found is None or (metadata.get("uid") and found["metadata"]["uid"] != metadata["uid"]):
            return Progress("ready"), live
        return Progress("waiting", _holders(kind, found)), found

    progress, held = _repeat(look(), look, wait)
    if progress.state != "ready":
        error = CancelledError if wait.cancelled.is_set() else NotReadyError
        raise error(_failure(kind, held, progress, wait), held)


def _repeat(
    first: tuple[Progress, Object], look: Callable[[], tuple[Progress, Object]], wait: Wait
) -> tuple[Progress, Object]:
    (progress, live), pause_s = first, FIRST_LOOK_S
    began = heard = time.monotonic()
    deadline = began + wait.timeout_s
    told = ""
    while progress.state == "waiting" and time.monotonic() < deadline:
        if progress.message != told:
            told = progress.message
            wait.report(told)
        if wait.cancelled.wait(min(pause_s, max(deadline - time.monotonic(), 0))):
            break
        patient_s = max(QUICK_LOOK_S, SHARE_OF_THE_WAIT * (time.monotonic() - began))
        pause_s = min(2 * pause_s, patient_s, SLOWEST_LOOK_S)
        try:
            progress, live = look()
            heard = time.monotonic()
        except UnreachableError:
            if time.monotonic() - heard > PATIENCE_S:
                raise
    return progress, live


def _failure(kind: Kind, live: Object, progress: Progress, wait: Wait) -> str:
    metadata = live["metadata"]
    place = f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else metadata["name"]
    if wait.cancelled.is_set():
        return (
            f"{kind.name} {place}: the wait was cancelled ({progress.message}); run the update again to go on"
        )
    if progress.state == "failed":
        return f"{kind.name} {place}: {progress.message}"
    return f"{kind.name} {place}: not done after {wait.timeout_s:g} s: {progress.message}"


def _why(cluster: Cluster, live: Object) -> list[str]:
    """What its conditions and its pods say."""
    conditions = live.get("status", {}).get("conditions") or []
    why = [f"{c['reason']}: {c.get('message', '')}" for c in conditions if c["type"] == "ReplicaFailure"]
    selector = live.get("spec", {}).get("selector")
    labels = selector.get("matchLabels") if isinstance(selector, dict) else None
    namespace = live["metadata"].get("namespace")
    if isinstance(labels, dict) and namespace:
        why += pod_reasons(cluster.matching(Kind("v1", "Pod"), namespace, labels))
    return why


def _holders(kind: Kind, live: Object) -> str:
    metadata = live["metadata"]
    finalizers = metadata.get("finalizers") or []
    place = f"-n {metadata['namespace']} " if metadata.get("namespace") else ""
    conditions = live.get("status", {}).get("conditions") or []
    remaining = [
        c.get("message", "") for c in conditions if c.get("status") == "True" and kind.name == "Namespace"
    ]
    if remaining:
        return f"the namespace still holds: {' '.join(remaining)}"
    if not finalizers:
        return "the API server still has it"
    if finalizers == ["foregroundDeletion"]:
        return "its dependents go first: the garbage collector of kube-controller-manager is at it"
    return (
        f"held by finalizer {', '.join(finalizers)}, which its controller has to remove; if that "
        f"controller is gone: kubectl patch {kind.name.lower()} {place}{metadata['name']} --type=merge -p "
        """'{"metadata":{"finalizers":null}}'"""
    )
