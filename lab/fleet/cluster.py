"""The few calls a kubelet makes for worker pods."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.api_server import ApiError, ApiServer
from lab.fleet.pod import FILTER_LABEL

__all__ = ["Cluster"]


class Cluster(ApiServer):
    """worker_pods: the path of every worker pod. Calls raise ApiError."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        super().__init__(kubeconfig)
        self._base = f"/api/v1/namespaces/{namespace}"
        self.worker_pods = f"{self._base}/pods?labelSelector={FILTER_LABEL}"

    async def report(self, pod: str, patch: Mapping[str, Any]) -> None:
        kind = "strategic-merge-patch+json"
        await self.call("PATCH", f"{self._base}/pods/{pod}/status", patch, kind)

    async def remove(self, pod: str, uid: str) -> None:
        """Say that the pod's containers are gone. A pod that is gone already is fine."""
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        try:
            await self.call("DELETE", f"{self._base}/pods/{pod}", options)
        except ApiError as error:
            if error.status not in {404, 409}:
                raise

    async def secret(self, name: str, key: str) -> str:
        data = (await self.call("GET", f"{self._base}/secrets/{name}"))["data"]
        return base64.b64decode(data[key]).decode()
