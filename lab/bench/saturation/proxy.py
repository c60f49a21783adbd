"""The saturation server as most write it first: each GET becomes one GET of RabbitMQ's management API.

Same event loop, HTTP parser, TLS and answer as ours; the numbers come from the broker when asked.
`python -m lab.bench.saturation.proxy SETTINGS`, a JSON file.
"""

import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from metrics_server.door import JSON, NO_STORE, problem
from surge.policy.signal import active_ratio, active_ratio_raw

__all__ = ["main"]


def main() -> None:
    uvloop.run(_serve(json.loads(Path(sys.argv[1]).read_bytes())))


async def _serve(settings: dict[str, Any]) -> None:
    headers = {"Authorization": aiohttp.encode_basic_auth(settings["user"], settings["password"])}
    connector = aiohttp.TCPConnector(limit_per_host=50)
    async with aiohttp.ClientSession(
        settings["management_url"], headers=headers, connector=connector
    ) as broker:
        config = uvicorn.Config(
            Starlette(routes=[Route("/v1/filters/{name}", _Through(broker, settings["token"]).one)]),
            host="127.0.0.1",
            port=settings["port"],
            ssl_certfile=settings["certificate"],
            ssl_keyfile=settings["key"],
            timeout_keep_alive=120,
            lifespan="off",
            log_config=None,
            access_log=False,
        )
        await uvicorn.Server(config).serve()


class _Through:
    def __init__(self, broker: aiohttp.ClientSession, token: str) -> None:
        self.broker = broker
        self.token = token

    async def one(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return problem(401, "want a bearer token")
        name = request.path_params["name"]
        async with self.broker.get(f"/api/queues/surge/filter.{name}") as answer:
            queue = orjson.loads(await answer.read())
        # A queue that has not emitted yet has no numbers.
        unacked, ready = queue.get("messages_unacknowledged", 0), queue.get("messages_ready", 0)
        consumers = queue.get("consumers", 0)
        body = {
            "filter": name,
            "active_ratio": active_ratio(unacked, consumers, ready),
            "active_ratio_raw": active_ratio_raw(unacked, consumers, ready),
            "unacked": unacked,
            "consumers": consumers,
            "ready": ready,
        }
        return Response(orjson.dumps(body), media_type=JSON, headers=NO_STORE)


if __name__ == "__main__":
    main()
