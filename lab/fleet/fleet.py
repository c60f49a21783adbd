"""All pods of the namespace: list, watch, and a kubelet for each."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from lab.api_server import follow
from lab.fleet.cluster import Cluster
from lab.fleet.journal import Journal
from lab.fleet.kubelet import Kubelet
from lab.fleet.pod import Pod

__all__ = ["Fleet"]


class Fleet:
    """run: until cancelled; survives outages of the API server and of the broker."""

    def __init__(self, cluster: Cluster, journal: Journal, seed: int) -> None:
        self._cluster = cluster
        self._journal = journal
        self._seed = seed
        self._kubelets: dict[str, Kubelet] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._made = 0
        self._log = structlog.get_logger("surge.fleet")

    async def run(self) -> None:
        try:
            await follow(self._cluster, self._cluster.worker_pods, self.reconcile, self.see)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def reconcile(self, pods: Iterable[Mapping[str, Any]]) -> None:
        """Take a whole list: what is not in it any more was removed behind our back."""
        listed = list(pods)
        for pod in listed:
            self.see("MODIFIED", pod)
        present = {pod["metadata"]["uid"] for pod in listed}
        for uid in set(self._kubelets) - present:
            self._kubelets[uid].vanish()

    def see(self, kind: str, document: Mapping[str, Any]) -> None:
        uid = document["metadata"]["uid"]
        kubelet = self._kubelets.get(uid)
        if kind == "DELETED":
            if kubelet is not None:
                kubelet.vanish()
            return
        try:
            pod = Pod.of(document)
        except (KeyError, ValueError) as missing:
            self._log.error(
                "a pod that no worker can be made of", pod=document["metadata"]["name"], missing=str(missing)
            )
            return
        if pod is None:
            return
        if kubelet is None:
            kubelet = self._adopt(pod)
        kubelet.see(pod)

    def _adopt(self, pod: Pod) -> Kubelet:
        self._made += 1
        address = f"10.244.{self._made // 250 % 250}.{self._made % 250 + 1}"
        kubelet = Kubelet(pod, address, self._cluster, self._journal, self._seed)
        self._kubelets[pod.uid] = kubelet
        task = asyncio.create_task(kubelet.run(), name=pod.name)
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._over(pod.uid, done))
        return kubelet

    def _over(self, uid: str, task: "asyncio.Task[None]") -> None:
        self._kubelets.pop(uid, None)
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._log.error("a kubelet failed", pod=task.get_name(), exc_info=task.exception())
