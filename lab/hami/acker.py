"""The device plugin's part: the containers of a bound pod have their cards, and the node is free again."""

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from lab.api_server import ApiError
from lab.hami.cluster import Cluster
from surge.policy.gpu.protocol import BIND_PHASE, TO_ALLOCATE, grants_of, written

__all__ = ["Acker"]

RETRY_S = 0.5


class Acker:
    """see: told of every pod of HAMi's; what is due is tried until the API server has heard it."""

    def __init__(self, cluster: Cluster, after_s: float) -> None:
        self._cluster = cluster
        self._after_s = after_s
        self._running: dict[str, asyncio.Task[None]] = {}
        self._log = structlog.get_logger("surge.hami")

    def see(self, pod: Mapping[str, Any]) -> None:
        metadata = pod["metadata"]
        annotations = metadata.get("annotations", {})
        if annotations.get(BIND_PHASE) != "allocating" or not pod["spec"].get("nodeName"):
            return
        if metadata["uid"] not in self._running:
            task = asyncio.create_task(self._acknowledge(metadata, pod["spec"]["nodeName"]))
            self._running[metadata["uid"]] = task
            task.add_done_callback(lambda _: self._running.pop(metadata["uid"], None))

    async def _acknowledge(self, metadata: Mapping[str, Any], node: str) -> None:
        namespace, name = metadata["namespace"], metadata["name"]
        await asyncio.sleep(self._after_s)
        while True:
            try:
                await self._say_so(metadata)
                return await self._cluster.unlock(node, namespace, name)
            except ApiError as error:
                self._log.warning("not acknowledged yet", pod=name, error=str(error))
            await asyncio.sleep(RETRY_S)

    async def _say_so(self, metadata: Mapping[str, Any]) -> None:
        handed_out = written(() for _ in grants_of(metadata["annotations"].get(TO_ALLOCATE, "")))
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        try:
            await self._cluster.annotate(path, {TO_ALLOCATE: handed_out, BIND_PHASE: "success"})
        except ApiError as error:
            if error.status != 404:  # gone already; its node is to be freed all the same
                raise
