"""The two questions of kube-scheduler: which node and cards (filter), and send the pod there (bind)."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import structlog

from lab.api_server import ApiError
from lab.hami.cluster import Cluster, LockedError
from lab.hami.ledger import Ledger
from lab.hami.pod import Asked
from surge.policy.gpu.protocol import (
    ALLOCATED,
    BIND_PHASE,
    BIND_TIME,
    NODE,
    TIME,
    TO_ALLOCATE,
)

__all__ = ["Extender"]

LOCK_RETRY_S = 0.1

Answer = dict[str, Any]


class Extender:
    """Arguments and answers are k8s.io/kube-scheduler/extender/v1, with node names instead of nodes."""

    def __init__(self, cluster: Cluster, ledger: Ledger, patience_s: float) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._patience_s = patience_s
        self._log = structlog.get_logger("surge.hami")

    async def filter(self, arguments: Mapping[str, Any]) -> Answer:
        pod, candidates = arguments["Pod"], arguments["NodeNames"] or []
        metadata, asked = pod["metadata"], Asked.of(pod)
        if not any(asked.all):
            return {"NodeNames": candidates}
        found = self._ledger.place(asked, candidates)
        if found is None:
            return {"NodeNames": [], "FailedNodes": dict.fromkeys(candidates, "no card has room for it")}
        node, cards = found
        placed = {NODE: node, TIME: str(int(time.time())), TO_ALLOCATE: cards, ALLOCATED: cards}
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        try:
            patched = await self._cluster.annotate(path, placed)
        except ApiError as error:
            self._ledger.forget(asked.uid)
            return {"Error": f"the choice of cards cannot be written on the pod: {error}"}
        self._ledger.confirm(asked.uid, patched["metadata"]["resourceVersion"])
        self._log.info("placed", pod=metadata["name"], node=node, cards=cards)
        return {"NodeNames": [node]}

    async def bind(self, arguments: Mapping[str, Any]) -> Answer:
        namespace, pod, node = arguments["PodNamespace"], arguments["PodName"], arguments["Node"]
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}"
        try:
            await self._lock(node, namespace, pod, arguments["PodUID"])
        except (LockedError, ApiError) as error:
            return {"Error": str(error)}
        try:
            bound_at = str(int(time.time()))
            await self._cluster.annotate(path, {BIND_PHASE: "allocating", BIND_TIME: bound_at})
            await self._cluster.bind(namespace, pod, arguments["PodUID"], node)
        except ApiError as error:
            await self._give_up(path, node, namespace, pod)
            return {"Error": str(error)}
        return {}

    async def _lock(self, node: str, namespace: str, pod: str, uid: str) -> None:
        """Pods of a group wait for their turn; others go back to kube-scheduler, which waits a second."""
        until = time.monotonic() + (self._patience_s if self._ledger.patient(uid) else 0)
        while True:
            try:
                return await self._cluster.lock(node, namespace, pod)
            except LockedError:
                if time.monotonic() >= until:
                    raise
            await asyncio.sleep(LOCK_RETRY_S)

    async def _give_up(self, path: str, node: str, namespace: str, pod: str) -> None:
        try:
            await self._cluster.unlock(node, namespace, pod)
            await self._cluster.annotate(path, {BIND_PHASE: "failed"})
        except ApiError as error:
            self._log.warning("a bind that failed is not undone", pod=pod, error=str(error))
