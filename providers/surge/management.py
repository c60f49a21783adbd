"""RabbitMQ's management API: requests with bounded retries, answers as plain JSON."""

import base64
import json
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from .problems import ProblemError

__all__ = ["Management", "UnreachableError"]

CALL_S = 10.0
RETRY_S = 0.5


class UnreachableError(ProblemError):
    """Nobody answered within the patience, or only with 5xx as a node does that still boots."""


class Management:
    """patience_s: how long to retry while a fresh node boots."""

    def __init__(
        self,
        url: str,
        user: str,
        password: str,
        *,
        ca_certificate: str | None = None,
        patience_s: float = 60,
        cancelled: threading.Event | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self.user = user
        credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
        self._context = (
            ssl.create_default_context(cadata=ca_certificate) if url.startswith("https:") else None
        )
        self._patience_s = patience_s
        self._cancelled = cancelled or threading.Event()

    def get(self, *path: str, query: str = "") -> Any:
        """The JSON at the path; None when there is none."""
        return self._call("GET", path, None, query)

    def wait(self, seconds: float) -> None:
        """Wait. Raises ProblemError when the operation is cancelled meanwhile."""
        if self._cancelled.wait(seconds):
            raise ProblemError("cancelled before anything was deleted; run the update again")

    def send(self, method: str, path: tuple[str, ...], body: Any = None) -> None:
        """PUT, POST or DELETE; deleting what is gone already is fine."""
        self._call(method, path, body)

    def _call(self, method: str, path: tuple[str, ...], body: Any, query: str = "") -> Any:
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                return self._once(method, path, body, query)
            except UnreachableError:
                if time.monotonic() + RETRY_S > deadline or self._cancelled.wait(RETRY_S):
                    raise

    def _once(self, method: str, path: tuple[str, ...], body: Any, query: str) -> Any:
        place = "/".join(urllib.parse.quote(part, safe="") for part in path)
        request = urllib.request.Request(  # noqa: S310
            f"{self._url}/api/{place}{query}",
            method=method,
            headers=self._headers,
            data=None if body is None else json.dumps(body).encode(),
        )
        try:
            with urllib.request.urlopen(request, timeout=CALL_S, context=self._context) as answer:  # noqa: S310
                text = answer.read()
                return json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            return self._refused(error, f"{method} /api/{place}")
        except ssl.SSLCertVerificationError as error:
            raise ProblemError(
                f"{self._url}: its certificate is not trusted ({error.verify_message}). Give ca_certificate"
            ) from error
        except OSError as error:
            if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
                raise ProblemError(
                    f"{self._url}: its certificate is not trusted ({error}). Give ca_certificate"
                ) from error
            raise UnreachableError(
                f"{self._url} does not answer ({error}): is the broker running, and is this its management "
                "address? Then run the update again"
            ) from error

    def _refused(self, error: urllib.error.HTTPError, what: str) -> None:
        with error:
            text = error.read(500).decode(errors="replace")
        if error.code == 404:
            return
        if error.code == 401:
            raise ProblemError(
                f"{self._url} refuses the user {self.user}: nothing was changed. Check admin_user, "
                "admin_password and that the user has the tag administrator"
            )
        if error.code >= 500:
            raise UnreachableError(f"{self._url} answers {error.code} to {what}: {text}")
        raise ProblemError(f"{self._url} answers {error.code} to {what}: {text}")
