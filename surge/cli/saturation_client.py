"""Reads the metric server as KEDA does: over TLS, with the bearer token, one filter at a time."""

import http.client
import json
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

__all__ = ["Answer", "SaturationClient"]

TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Answer:
    """values: the JSON of one filter, empty unless status is 200. status 0: no answer at all."""

    status: int
    values: Mapping[str, Any]
    said: str = ""

    @property
    def state(self) -> str:
        """ "ok", or why there is no value."""
        if self.status == 200:
            return "ok"
        return self.said or f"HTTP {self.status}"


class SaturationClient:
    """One connection, kept open: a thousand filters are a thousand requests on it."""

    def __init__(self, url: str, authority: str, token: str) -> None:
        parts = urlsplit(url)
        context = ssl.create_default_context(cadata=authority)
        self._connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=TIMEOUT_S, context=context
        )
        self._headers = {"Authorization": f"Bearer {token}"}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def read(self, names: Iterable[str]) -> dict[str, Answer]:
        """Return an answer for every name; after a broken connection the rest is not asked for."""
        answers: dict[str, Answer] = {}
        broken: Answer | None = None
        for name in names:
            if broken is None:
                try:
                    answers[name] = self._one(name)
                    continue
                except (OSError, http.client.HTTPException) as error:
                    self._connection.close()
                    broken = Answer(0, {}, f"the metric server does not answer: {error}")
            answers[name] = broken
        return answers

    def _one(self, name: str) -> Answer:
        self._connection.request("GET", f"/v1/filters/{name}", headers=self._headers)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            return Answer(response.status, {}, _meaning(response.status))
        try:
            values = json.loads(body)
        except ValueError:
            return Answer(response.status, {}, "the metric server answers without JSON")
        return Answer(200, values if isinstance(values, dict) else {})


def _meaning(status: int) -> str:
    return {
        401: "HTTP 401: the token in the stack's outputs is not the server's; surge up sets it",
        404: "HTTP 404: the server does not know this filter; surge up adds it",
        503: "HTTP 503: no fresh sample from the broker",
    }.get(status, f"HTTP {status}")
