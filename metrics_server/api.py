"""The endpoints: what KEDA reads per filter, the batch, Prometheus' text, health and readiness."""

import asyncio
import re
import secrets
from collections.abc import Iterable
from typing import cast

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from metrics_server.collector import SaturationCollector, exposition
from metrics_server.door import JSON, NO_STORE, Answers, Bucket, Door, Lifecycle, problem
from metrics_server.explain import explained
from metrics_server.sampler import Sampler
from metrics_server.snapshot import Row

__all__ = ["Shortcut", "build_app"]

# Signs that a URL has as they are (RFC 3986, 2.3).
ONE_FILTER = re.compile(rb"/v1/filters/([A-Za-z0-9._~-]{1,255})")
JSON_HEADERS = "".join(
    f"{name}: {value}\r\n" for name, value in {"content-type": JSON, **NO_STORE}.items()
).encode()


def build_app(sampler: Sampler, life: Lifecycle) -> Door:
    """Return the ASGI application over `sampler`."""
    answers = Answers()
    endpoints = _Endpoints(sampler, life, answers)
    app = Starlette(
        routes=[
            Route("/v1/filters/{name}", endpoints.one),
            Route("/v1/filters/{name}/explain", endpoints.explain),
            Route("/v1/filters", endpoints.every),
            Route("/metrics", endpoints.metrics),
            Route("/healthz", endpoints.healthz),
            Route("/readyz", endpoints.readyz),
        ],
        exception_handlers={HTTPException: _not_here},
    )
    return Door(app, life, answers, Bucket(sampler.config.limits.refusals_per_s, sampler.clock))


class Shortcut:
    """A filter's numbers without ASGI: it is what KEDA asks for all day.

    A task, a route and a wrapped request take several times as long as the answer. Whatever else is asked
    for, is refused or has no fresh numbers is the application's, and so is a name with an escaped sign.
    """

    def __init__(self, door: Door, sampler: Sampler) -> None:
        self.door = door
        self.sampler = sampler
        self.stale_s = sampler.config.stale_s

    def __call__(self, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
        """Return what follows the status 200 of a GET, headers and body, and count it; None: ask `door`."""
        asked = ONE_FILTER.fullmatch(target)
        if asked is None or not self.door.waves_through(dict(headers)):
            return None
        now = self.sampler.clock()
        row = self.sampler.snapshot.fresh(asked[1].decode(), now, self.stale_s)
        if row is None:
            return None
        body = row.answer(now)
        self.door.answers.count(200)
        return b"%bcontent-length: %d\r\n\r\n%b" % (JSON_HEADERS, len(body), body)


class _Endpoints:
    def __init__(self, sampler: Sampler, life: Lifecycle, answers: Answers) -> None:
        self.sampler = sampler
        self.life = life
        self.stale_s = sampler.config.stale_s
        self.process = secrets.token_hex(8)
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(SaturationCollector(sampler, answers))
        self.scraping = asyncio.Lock()
        self.scraped, self.scraped_at = b"", (-1, -1)

    async def one(self, request: Request) -> Response:
        now = self.sampler.clock()
        row = self._row(request.path_params["name"], now)
        return row if isinstance(row, Response) else _json(row.answer(now))

    async def explain(self, request: Request) -> Response:
        now = self.sampler.clock()
        row = self._row(request.path_params["name"], now)
        if isinstance(row, Response):
            return row
        windows = self.sampler.windows(row), self.sampler.config.windows_s
        age_s, live = max(0.0, now - row.started), self.sampler.live_consumers(row.spec.name)
        return _json(explained(row, *windows, age_s=age_s, stale_s=self.stale_s, live_consumers=live))

    def _row(self, name: str, now: float) -> Row | Response:
        snapshot = self.sampler.snapshot
        if name not in snapshot.known:
            return problem(404, "no such filter in the catalogue")
        row = snapshot.fresh(name, now, self.stale_s)
        if row is None:
            return problem(503, "no fresh numbers from the broker: see /readyz and the server's log")
        return row

    async def every(self, request: Request) -> Response:
        snapshot, now = self.sampler.snapshot, self.sampler.clock()
        fresh = [row for _, row in snapshot.all_fresh(now, self.stale_s)]
        # A snapshot stays while the broker is away, and its rows go stale one by one.
        tag = f'"{self.process}-{snapshot.serial}-{len(fresh)}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        rows = b",".join(row.answer(now) for row in fresh)
        return Response(b'{"filters":[' + rows + b"]}", media_type=JSON, headers={"etag": tag, **NO_STORE})

    async def metrics(self, _: Request) -> Response:
        async with self.scraping:
            # It needs no token and costs more than anything else here: at most once a second.
            moment = (self.sampler.snapshot.serial, int(self.sampler.clock()))
            if moment != self.scraped_at:
                self.scraped = await asyncio.to_thread(exposition, self.registry)
                self.scraped_at = moment
        return Response(self.scraped, headers={"content-type": CONTENT_TYPE_LATEST})

    async def healthz(self, _: Request) -> Response:
        if self.life.sampling:
            return Response(b'{"ok":true}', media_type=JSON)
        return problem(503, "the sampler has ended")

    async def readyz(self, _: Request) -> Response:
        if self.life.draining:
            return problem(503, "shutting down")
        last = self.sampler.snapshot.last_read
        if last is None or self.sampler.clock() - last > self.stale_s:
            return problem(503, "no broker node has answered lately")
        return Response(b'{"ready":true}', media_type=JSON)


def _json(body: bytes) -> Response:
    return Response(body, media_type=JSON, headers=NO_STORE)


async def _not_here(_: Request, error: Exception) -> Response:
    wrong = cast("HTTPException", error)
    return problem(wrong.status_code, wrong.detail, dict(wrong.headers or {}))
