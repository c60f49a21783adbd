"""The calls that HAMi's scheduler and device plugin make, and the lock of a node between them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from lab.api_server import ApiError, ApiServer, Document
from surge.policy.gpu.protocol import LOCK, SCHEDULER

__all__ = ["NODES", "PODS", "Cluster", "LockedError"]

PODS = f"/api/v1/pods?fieldSelector=spec.schedulerName={SCHEDULER}"
NODES = "/api/v1/nodes?labelSelector=gpu=on"

Annotations = Mapping[str, str | None]


class LockedError(Exception):
    """Another pod is being bound to the node."""


class Cluster(ApiServer):
    """Calls raise ApiError."""

    def __init__(self, kubeconfig: Path, lock_expires_s: float) -> None:
        super().__init__(kubeconfig)
        self._lock_expires_s = lock_expires_s

    async def annotate(self, path: str, annotations: Annotations, version: str | None = None) -> Document:
        """version: refuse (409) when the object has changed since. An annotation of None goes away."""
        metadata = {"annotations": dict(annotations), **({"resourceVersion": version} if version else {})}
        return await self.call("PATCH", path, {"metadata": metadata}, "merge-patch+json")

    async def bind(self, namespace: str, pod: str, uid: str, node: str) -> None:
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod, "namespace": namespace, "uid": uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await self.call("POST", f"{_pod(namespace, pod)}/binding", binding)

    async def lock(self, node: str, namespace: str, pod: str) -> None:
        """Take the node for one pod. Raises LockedError while it is another's."""
        path = _node(node)
        found = (await self.call("GET", path))["metadata"]
        held = found.get("annotations", {}).get(LOCK)
        if held is not None and not await self._is_stale(held):
            raise LockedError(f"node {node} is locked: {held}")
        value = f"{datetime.now(UTC).isoformat(timespec='seconds')},{namespace},{pod}"
        try:
            await self.annotate(path, {LOCK: value}, found["resourceVersion"])
        except ApiError as error:
            if error.status == 409:
                raise LockedError(f"node {node} has changed meanwhile") from error
            raise

    async def unlock(self, node: str, namespace: str, pod: str) -> None:
        """Give the node free, if it is this pod's."""
        path = _node(node)
        while True:
            found = (await self.call("GET", path))["metadata"]
            if not found.get("annotations", {}).get(LOCK, "").endswith(f",{namespace},{pod}"):
                return
            try:
                await self.annotate(path, {LOCK: None}, found["resourceVersion"])
            except ApiError as error:
                if error.status != 409:
                    raise
            else:
                return

    async def _is_stale(self, lock: str) -> bool:
        """It has expired, or its pod is gone."""
        since, namespace, pod = lock.split(",")
        if (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds() > self._lock_expires_s:
            return True
        try:
            await self.call("GET", _pod(namespace, pod))
        except ApiError as error:
            if error.status == 404:
                return True
            raise
        return False


def _node(name: str) -> str:
    return f"/api/v1/nodes/{name}"


def _pod(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods/{name}"
