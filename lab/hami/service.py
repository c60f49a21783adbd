"""Extender and acker as one: what they see of the cluster, and the door for kube-scheduler."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from aiohttp import web

from lab.api_server import ApiError, Document, follow
from lab.hami.acker import Acker
from lab.hami.cluster import NODES, PODS, Cluster
from lab.hami.extender import Extender
from lab.hami.ledger import Ledger
from lab.hami.settings import Settings
from surge.policy.gpu.protocol import HANDSHAKE, REGISTER

__all__ = ["Service"]


class Service:
    """run: until cancelled. It answers once it has seen all nodes and pods there are."""

    def __init__(self, cluster: Cluster, settings: Settings) -> None:
        self._cluster = cluster
        self._settings = settings
        self._ledger = Ledger()
        self._acker = Acker(cluster, settings.acknowledge_s)
        self._extender = Extender(cluster, self._ledger, settings.patience_s)
        self._handshakes: set[asyncio.Task[None]] = set()
        self._nodes_known, self._pods_known = asyncio.Event(), asyncio.Event()
        self._log = structlog.get_logger("surge.hami")

    async def run(self) -> None:
        runner = web.AppRunner(self._routes(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._settings.port).start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(follow(self._cluster, NODES, self._replace_nodes, self._see_node))
                await self._nodes_known.wait()
                group.create_task(follow(self._cluster, PODS, self._replace_pods, self._see_pod))
        finally:
            await runner.cleanup()

    def _routes(self) -> web.Application:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.add_routes(
            [
                web.post("/filter", self._answering(self._extender.filter)),
                web.post("/bind", self._answering(self._extender.bind)),
                web.get("/readyz", self._readyz),
            ]
        )
        return app

    def _answering(
        self, question: Callable[[Any], Awaitable[dict[str, Any]]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            if not self._pods_known.is_set():
                raise web.HTTPServiceUnavailable(text="not all pods are known yet")
            said = await question(orjson.loads(await request.read()))
            return web.Response(body=orjson.dumps(said), content_type="application/json")

        return answer

    async def _readyz(self, _request: web.Request) -> web.Response:
        return web.Response(status=200 if self._pods_known.is_set() else 503)

    def _replace_nodes(self, nodes: Iterable[Document]) -> None:
        listed = list(nodes)
        for name in self._ledger.nodes() - {node["metadata"]["name"] for node in listed}:
            self._ledger.unregister(name)
        for node in listed:
            self._see_node("ADDED", node)
        self._nodes_known.set()

    def _see_node(self, kind: str, node: Document) -> None:
        name, annotation = node["metadata"]["name"], node["metadata"].get("annotations", {}).get(REGISTER)
        try:
            if kind == "DELETED" or annotation is None:
                self._ledger.unregister(name)
            elif self._ledger.register(name, annotation):
                task = asyncio.create_task(self._shake_hands(name))
                self._handshakes.add(task)
                task.add_done_callback(self._handshakes.discard)
        except ValueError as error:
            self._log.error("a node whose cards nobody can use", node=name, error=str(error))

    async def _shake_hands(self, node: str) -> None:
        asked_at = f"Requesting_{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
        try:
            await self._cluster.annotate(f"/api/v1/nodes/{node}", {HANDSHAKE: asked_at})
        except ApiError as error:
            self._log.warning("no handshake", node=node, error=str(error))

    def _replace_pods(self, pods: Iterable[Document]) -> None:
        listed = list(pods)
        for uid in self._ledger.pods() - {pod["metadata"]["uid"] for pod in listed}:
            self._ledger.forget(uid)
        for pod in listed:
            self._see_pod("ADDED", pod)
        self._pods_known.set()

    def _see_pod(self, kind: str, pod: Document) -> None:
        if kind == "DELETED":
            self._ledger.forget(pod["metadata"]["uid"])
            return
        try:
            self._ledger.see(pod)
        except ValueError as error:
            self._log.error(
                "a pod whose cards nobody can book", pod=pod["metadata"]["name"], error=str(error)
            )
        self._acker.see(pod)
