"""The three calls to the cluster's API server that the deletion cost takes."""

import base64
import ssl
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
import yaml

from surge.policy.scale_in import COST

__all__ = ["Api", "ApiError"]

CALL_S = 10
FILTER_LABEL = "surge.dev/filter"
# Of the fields that are ours in `metadata.managedFields`.
FIELD_MANAGER = "surge-scale-in"
MERGE = "application/merge-patch+json"
JSON = "application/json"
# Names, labels and annotations: a tenth of a pod.
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class ApiError(Exception):
    """The API server is away, or refused. status: HTTP's, 0 without an answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text}" if status else text)
        self.status = status


class Api:
    """Of one namespace. Calls raise ApiError."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        document = yaml.load(kubeconfig.read_text(), Loader=yaml.CSafeLoader)
        cluster, self._user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        self._server, self._namespace = cluster["server"], namespace
        self._tls = _context(cluster, self._user)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=8),
            timeout=aiohttp.ClientTimeout(total=CALL_S),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def autoscalers(self) -> list[dict[str, Any]]:
        """Every HPA, out of the API server's memory."""
        path = f"/apis/autoscaling/v2/namespaces/{self._namespace}/horizontalpodautoscalers"
        return (await self._call("GET", f"{path}?resourceVersion=0", JSON))["items"]

    async def pods(self, filters: Iterable[str]) -> list[dict[str, Any]]:
        """The metadata of the workers of these filters, with the filter's label."""
        selector = f"{FILTER_LABEL}+in+({','.join(sorted(filters))})"
        return (await self._call("GET", f"{self._pods}?labelSelector={selector}", METADATA))["items"]

    async def price(self, pod: str, cost: str | None) -> bool:
        """Set the pod's deletion cost, or remove it; False when the pod is gone."""
        patch = {"metadata": {"annotations": {COST: cost}}}
        path = f"{self._pods}/{pod}?fieldManager={FIELD_MANAGER}"
        try:
            await self._call("PATCH", path, METADATA.replace("List", ""), orjson.dumps(patch))
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    @property
    def _pods(self) -> str:
        return f"/api/v1/namespaces/{self._namespace}/pods"

    async def _call(self, method: str, path: str, accept: str, body: bytes | None = None) -> Any:
        if self._session is None:
            raise RuntimeError("use `async with Api(...)`")
        headers = {"Accept": accept, **self._token()} | ({"Content-Type": MERGE} if body else {})
        try:
            async with self._session.request(
                method, self._server + path, data=body, headers=headers
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, f"{type(error).__name__}: {error}") from error
        if answer.status >= 400:
            raise ApiError(answer.status, content[:2000].decode(errors="replace"))
        return orjson.loads(content)

    def _token(self) -> dict[str, str]:
        """A pod's token is replaced before it expires, so it is read each time."""
        file = self._user.get("tokenFile")
        return {"Authorization": f"Bearer {Path(file).read_text().strip()}"} if file else {}


def _context(cluster: Mapping[str, str], user: Mapping[str, str]) -> ssl.SSLContext:
    if file := cluster.get("certificate-authority"):
        context = ssl.create_default_context(cafile=file)
    else:
        authority = base64.b64decode(cluster["certificate-authority-data"])
        context = ssl.create_default_context(cadata=authority.decode())
    if "client-certificate-data" in user:
        # The ssl module reads a client's certificate and key from a file alone.
        with tempfile.NamedTemporaryFile("wb", suffix=".pem") as pair:
            pair.write(base64.b64decode(user["client-certificate-data"]))
            pair.write(base64.b64decode(user["client-key-data"]))
            pair.flush()
            context.load_cert_chain(pair.name)
    return context
