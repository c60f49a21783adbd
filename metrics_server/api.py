"""The endpoints: what KEDA reads per filter, the batch, Prometheus' text, health and readiness."""

from hmac import compare_digest
from typing import Protocol

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from metrics_server.collector import SaturationCollector, exposition
from metrics_server.explain import explained
from metrics_server.sampler import Sampler
from metrics_server.snapshot import Row

__all__ = ["Lifecycle", "build_app"]

JSON = "application/json"
NO_STORE = {"cache-control": "no-store"}


class Lifecycle(Protocol):
    """What the process knows and the endpoints tell."""

    tokens: tuple[bytes, ...]
    draining: bool
    sampling: bool


def build_app(sampler: Sampler, life: Lifecycle) -> Starlette:
    """Return the ASGI application over `sampler`."""
    endpoints = _Endpoints(sampler, life)
    return Starlette(
        routes=[
            Route("/v1/filters/{name}", endpoints.one),
            Route("/v1/filters/{name}/explain", endpoints.explain),
            Route("/v1/filters", endpoints.every),
            Route("/metrics", endpoints.metrics),
            Route("/healthz", endpoints.healthz),
            Route("/readyz", endpoints.readyz),
        ]
    )


class _Endpoints:
    def __init__(self, sampler: Sampler, life: Lifecycle) -> None:
        self.sampler = sampler
        self.life = life
        self.stale_s = sampler.config.stale_s
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(SaturationCollector(sampler))

    async def one(self, request: Request) -> Response:
        if not self._allowed(request):
            return _refused()
        now = self.sampler.clock()
        row = self._row(request.path_params["name"], now)
        return row if isinstance(row, Response) else _json(row.answer(now))

    async def explain(self, request: Request) -> Response:
        if not self._allowed(request):
            return _refused()
        name, now = request.path_params["name"], self.sampler.clock()
        row = self._row(name, now)
        if isinstance(row, Response):
            return row
        windows = self.sampler.windows(name), self.sampler.config.windows_s
        return _json(explained(row, *windows, age_s=max(0.0, now - row.started), stale_s=self.stale_s))

    def _row(self, name: str, now: float) -> Row | Response:
        snapshot = self.sampler.snapshot
        if name not in snapshot.known:
            return _error(404, "no such filter in the catalogue")
        row = snapshot.fresh(name, now, self.stale_s)
        if row is None:
            return _error(503, "no fresh numbers from the broker: see /readyz and the server's log")
        return row

    async def every(self, request: Request) -> Response:
        if not self._allowed(request):
            return _refused()
        snapshot, now = self.sampler.snapshot, self.sampler.clock()
        tag = f'"{id(self.sampler):x}-{snapshot.serial}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        rows = b",".join(row.answer(now) for _, row in snapshot.all_fresh(now, self.stale_s))
        return Response(b'{"filters":[' + rows + b"]}", media_type=JSON, headers={"etag": tag, **NO_STORE})

    async def metrics(self, _: Request) -> Response:
        text = await run_in_threadpool(exposition, self.registry)
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})

    async def healthz(self, _: Request) -> Response:
        if self.life.sampling:
            return Response(b'{"ok":true}', media_type=JSON)
        return _error(503, "the sampler has ended")

    async def readyz(self, _: Request) -> Response:
        if self.life.draining:
            return _error(503, "shutting down")
        last = self.sampler.snapshot.last_read
        if last is None or self.sampler.clock() - last > self.stale_s:
            return _error(503, "no broker node has answered lately")
        return Response(b'{"ready":true}', media_type=JSON)

    def _allowed(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        token = given.strip().encode("latin-1", "replace")
        # Every token is compared, so that time tells nothing about which one matched.
        matches = [compare_digest(token, each) for each in self.life.tokens]
        return any(matches) and scheme.lower() == "bearer"


def _json(body: bytes) -> Response:
    return Response(body, media_type=JSON, headers=NO_STORE)


def _refused() -> Response:
    headers = {"www-authenticate": "Bearer", **NO_STORE}
    return Response(b'{"error":"want a bearer token"}', 401, media_type=JSON, headers=headers)


def _error(status: int, text: str) -> Response:
    return Response(f'{{"error":"{text}"}}'.encode(), status, media_type=JSON, headers=NO_STORE)
