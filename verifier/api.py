"""Reading from the API server, with a client's certificate or with a pod's own token."""

import base64
import json
import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

__all__ = ["Api", "ApiError"]

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ApiError(Exception):
    """The API server is away, or refused. status: HTTP's, 0 without an answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text}" if status else text)
        self.status = status


@dataclass(frozen=True)
class Api:
    """token: a file that the kubelet renews; None where a certificate says who we are."""

    server: str
    tls: ssl.SSLContext
    token: Path | None = None

    @classmethod
    def of(cls, kubeconfig: Path) -> Self:
        """As the user of a kubeconfig with everything inline, in JSON."""
        document = json.loads(kubeconfig.read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        tls = ssl.create_default_context(cadata=authority)
        # The ssl module reads a client's certificate and key from a file alone.
        with tempfile.NamedTemporaryFile("wb", suffix=".pem") as pair:
            pair.write(base64.b64decode(user["client-certificate-data"]))
            pair.write(base64.b64decode(user["client-key-data"]))
            pair.flush()
            tls.load_cert_chain(pair.name)
        return cls(cluster["server"], tls)

    @classmethod
    def in_cluster(cls) -> Self:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        return cls(server, ssl.create_default_context(cafile=ACCOUNT / "ca.crt"), ACCOUNT / "token")

    def lines(self, path: str, *, timeout_s: float) -> Iterator[Mapping[str, Any]]:
        """The JSON objects of an answer, one a line. timeout_s: of silence. Raises ApiError."""
        at = urlsplit(self.server)
        connection = HTTPSConnection(at.hostname or "", at.port or 443, context=self.tls, timeout=timeout_s)
        headers = {"Authorization": f"Bearer {self.token.read_text().strip()}"} if self.token else {}
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            if answer.status != 200:
                raise ApiError(answer.status, answer.read(300).decode(errors="replace"))
            for line in answer:
                yield json.loads(line)
        except (OSError, HTTPException, ValueError) as error:
            raise ApiError(0, f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()
