"""What stands before every endpoint: bounds of a request, the bearer token, and the count of answers."""

import math
from collections.abc import Callable
from hmac import compare_digest
from typing import Protocol

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["JSON", "NO_STORE", "Answers", "Bucket", "Door", "Lifecycle", "problem"]

JSON = "application/json"
NO_STORE = {"cache-control": "no-store"}
GUARDED = "/v1/"
# A name has at most 255 signs of at most 12 signs each in a URL.
MOST_PATH = 4096
CLOSE = (b"connection", b"close")


class Lifecycle(Protocol):
    """What the process knows and the endpoints tell."""

    tokens: tuple[bytes, ...]
    draining: bool
    sampling: bool


class Answers:
    """Answers under /v1 by status. Those an alert divides by are there before the first one."""

    def __init__(self) -> None:
        self.by_status: dict[int, int] = dict.fromkeys((200, 401, 404, 429, 503), 0)

    def count(self, status: int) -> None:
        self.by_status[status] = self.by_status.get(status, 0) + 1


class Bucket:
    """Lets `per_s` pass on average and one second's worth at once."""

    def __init__(self, per_s: float, clock: Callable[[], float]) -> None:
        self.per_s, self.clock = per_s, clock
        self.most = max(1.0, per_s)
        self.level, self.at = self.most, clock()

    def take(self) -> bool:
        now = self.clock()
        self.level = min(self.most, self.level + (now - self.at) * self.per_s)
        self.at = now
        if self.level < 1:
            return False
        self.level -= 1
        return True


class Door:
    """ASGI middleware. `answers` is the process's count."""

    def __init__(self, app: ASGIApp, life: Lifecycle, answers: Answers, refusals: Bucket) -> None:
        self.app = app
        self.life = life
        self.answers = answers
        self.refusals = refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        guarded = scope["path"].startswith(GUARDED)

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                if guarded:
                    self.answers.count(message["status"])
                if self.life.draining:
                    # The client's next request then opens a connection to a server that stays.
                    message["headers"].append(CLOSE)
            await send(message)

        headers = dict(scope["headers"])
        refusal = _too_much(scope, headers) or (self._without_token(headers) if guarded else None)
        await (refusal or self.app)(scope, receive, noted)

    def waves_through(self, headers: dict[bytes, bytes]) -> bool:
        """Whether a request under /v1/ with these headers is let in and answered without a word of ours."""
        return not self.life.draining and not _has_body(headers) and self._has_token(headers)

    def _has_token(self, headers: dict[bytes, bytes]) -> bool:
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        token = given.strip()
        # Every token is compared, so that time tells nothing about which one matched.
        matches = [compare_digest(token, each) for each in self.life.tokens]
        return any(matches) and scheme.lower() == b"bearer"

    def _without_token(self, headers: dict[bytes, bytes]) -> Response | None:
        if self._has_token(headers):
            return None
        if self.refusals.take():
            return problem(401, "want a bearer token", {"www-authenticate": "Bearer"})
        wait = math.ceil(1 / self.refusals.per_s)
        return problem(429, "too many requests without a valid token", {"retry-after": str(wait)})


def problem(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """Return `{"error": text}`; text has no quotes."""
    body = f'{{"error":"{text}"}}'.encode()
    return Response(body, status, media_type=JSON, headers={**NO_STORE, **(headers or {})})


def _too_much(scope: Scope, headers: dict[bytes, bytes]) -> Response | None:
    if len(scope.get("raw_path", b"")) + len(scope["query_string"]) > MOST_PATH:
        return problem(414, f"the path is longer than {MOST_PATH} bytes")
    if _has_body(headers):
        # Its bytes would otherwise be read as the next request.
        return problem(413, "no request here has a body", {"connection": "close"})
    return None


def _has_body(headers: dict[bytes, bytes]) -> bool:
    return headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
