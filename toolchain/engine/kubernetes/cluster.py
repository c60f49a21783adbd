"""The API server: discovery, server-side apply, read, delete."""

import contextlib
import json
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any
from urllib.parse import quote

import urllib3
from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.client.rest import RESTResponse
from kubernetes.config import ConfigException, kube_config

from .kinds import Kind
from .problems import KindMissingError, ProblemError, RefusedError, UnreachableError
from .settings import ProviderSettings

__all__ = ["Cluster", "Object", "Served"]

Object = dict[str, Any]

JSON, APPLY = "application/json", "application/apply-patch+yaml"
# Seconds to connect, and to wait for an answer (an admission webhook may take 30).
TIMEOUT_S = (5, 60)
# As many kept connections as the engine runs resources in parallel on a large machine.
CONNECTIONS = 64
# Hundreds of resources ask one after the other what is served: those that follow a call without an
# answer, with all its repetitions, so closely get the same error at once.
GONE_S = 5.0


@dataclass(frozen=True)
class Served:
    """A kind as the API server serves it. base: such as /apis/apps/v1, name: such as deployments."""

    base: str
    name: str
    namespaced: bool

    def path(self, namespace: str, name: str = "") -> str:
        """Of an object, or of all in a namespace; of all on the cluster without one.

        A name with a slash is the API server's to refuse: unescaped it would be a part of another object.
        """
        within = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        return f"{self.base}{within}/{self.name}" + (f"/{quote(name, safe='')}" if name else "")


class Cluster:
    """One API server. Thread-safe. Every method raises UnreachableError or RefusedError."""

    def __init__(self, settings: ProviderSettings) -> None:
        self._client = _connect(settings)
        self.server: str = self._client.configuration.host
        self._discovery = _Discovery(lambda path: self._request("GET", path))

    def resource(self, kind: Kind) -> Served:
        """Raises KindMissingError when the API server does not serve the kind."""
        with self._answered(f"{kind.api_version} {kind.name}"):
            return self._discovery.get(kind.api_version, kind.name)

    def read(self, kind: Kind, name: str, namespace: str) -> Object | None:
        """The object, None when there is none."""
        resource = self.resource(kind)
        try:
            with self._answered(_about(kind, namespace, name)):
                return _body(self._request("GET", resource.path(namespace, name)))
        except RefusedError as refusal:
            if refusal.status == 404:
                return None
            raise

    def matching(self, kind: Kind, namespace: str, labels: dict[str, str]) -> list[Object]:
        """The objects of a kind in a namespace that carry these labels."""
        wanted = ",".join(f"{key}={value}" for key, value in labels.items())
        resource = self.resource(kind)
        with self._answered(f"{kind.name} of {namespace}"):
            found = self._request("GET", resource.path(namespace), query={"labelSelector": wanted})
            return _body(found)["items"]

    def apply(
        self, kind: Kind, body: Object, manager: str, *, force: bool = False, dry_run: bool = False
    ) -> tuple[Object, list[str]]:
        """The object as the server made it, and the server's warnings."""
        name, namespace = body["metadata"]["name"], body["metadata"].get("namespace", "")
        query = {"fieldManager": manager, "force": force} | ({"dryRun": "All"} if dry_run else {})
        with self._answered(_about(kind, namespace, name)):
            answer = self._request(
                "PATCH", self.resource(kind).path(namespace, name), query=query, body=body, content=APPLY
            )
            return _body(answer), _warnings(answer)

    def delete(self, kind: Kind, name: str, namespace: str, *, propagation: str, uid: str) -> bool:
        """False when there is no such object (any more), or another one in its place. uid: "" for any."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            with self._answered(_about(kind, namespace, name)):
                self._request("DELETE", self.resource(kind).path(namespace, name), body=options)
        except RefusedError as refusal:
            if refusal.status == 404 or (refusal.status == 409 and "UID" in refusal.message):
                return False
            raise
        return True

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Object | None = None,
        body: Object | None = None,
        content: str = JSON,
    ) -> RESTResponse:
        """Raises ApiException for an answer that is not of success, HTTPError for none at all."""
        request = self._client.param_serialize(
            method,
            path,
            query_params=[*(query or {}).items()],
            header_params={"Accept": JSON, "Content-Type": content},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = self._client.call_api(*request, _request_timeout=TIMEOUT_S)
        answer.read()
        if not 200 <= answer.status <= 299:
            raise ApiException.from_response(http_resp=answer, body=None, data=None)
        return answer

    @contextlib.contextmanager
    def _answered(self, about: str) -> Iterator[None]:
        try:
            yield
        except ApiException as error:
            body = error.body or ""
            text = body.decode() if isinstance(body, bytes) else str(body)
            raise RefusedError(int(error.status or 0), text, about) from error
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(self.server, _cause(error)) from error


class _Discovery:
    """What the API server serves, asked for group by group and kept; asked again when a kind is missing."""

    def __init__(self, ask: Callable[[str], RESTResponse]) -> None:
        self._answer_to = ask
        self._groups: dict[str, dict[str, Served]] = {}
        self._lock = Lock()
        self._gone: tuple[urllib3.exceptions.HTTPError, float] | None = None

    def get(self, api_version: str, kind: str) -> Served:
        known = self._groups.get(api_version, {}).get(kind)
        if known is None:
            with self._lock:
                known = self._groups.get(api_version, {}).get(kind) or self._ask(api_version).get(kind)
        if known is None:
            raise KindMissingError(api_version, kind)
        return known

    def _ask(self, api_version: str) -> dict[str, Served]:
        if self._gone is not None and time.monotonic() < self._gone[1]:
            raise self._gone[0]
        base = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            answer = self._answer_to(base)
        except ApiException as error:
            if error.status in {404, 503}:  # 503: the group's own API server is not there
                return {}
            raise
        except urllib3.exceptions.HTTPError as error:
            self._gone = error, time.monotonic() + GONE_S
            raise
        served = {
            item["kind"]: Served(base, item["name"], item["namespaced"])
            for item in _body(answer)["resources"]
            if "/" not in item["name"]
        }
        self._groups[api_version] = served
        return served


def _connect(settings: ProviderSettings) -> ApiClient:
    configuration = Configuration()
    configuration.connection_pool_maxsize = CONNECTIONS
    # Every request of ours may be repeated: reads, apply, and delete by uid.
    configuration.retries = urllib3.Retry(
        4, backoff_factor=0.2, allowed_methods=None, status_forcelist=(429, 503)
    )
    try:
        kube_config.load_kube_config_from_dict(
            settings.kubeconfig_document(), client_configuration=configuration, temp_file_path=None
        )
        context = _tls(configuration)
    except (ConfigException, OSError, ValueError, KeyError, ssl.SSLError) as error:
        raise ProblemError(
            f"the kubeconfig cannot be used: {error}. Try it: `kubectl --kubeconfig FILE get namespaces`"
        ) from error
    finally:
        # The client keeps inline keys in files of /tmp until it exits; the engine kills plugins, so
        # they would stay.
        kube_config._cleanup_temp_files()
    client = ApiClient(configuration)
    if context is not None:
        pool: dict[str, Any] = client.rest_client.pool_manager.connection_pool_kw
        for name in ("ca_certs", "ca_cert_data", "cert_file", "key_file"):
            pool.pop(name, None)
        pool["ssl_context"] = context
    return client


def _tls(configuration: Configuration) -> ssl.SSLContext | None:
    if not configuration.host.startswith("https"):
        return None
    context = ssl.create_default_context(
        cafile=configuration.ssl_ca_cert, cadata=getattr(configuration, "ca_cert_data", None)
    )
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context


def _body(answer: RESTResponse) -> Any:
    return json.loads(answer.read())


def _warnings(answer: RESTResponse) -> list[str]:
    """Texts of the `Warning: 299 - "text"` headers."""
    lines = answer.headers.getlist("Warning")
    return [line.split('"')[1] if line.count('"') > 1 else line for line in lines]


def _about(kind: Kind, namespace: str, name: str) -> str:
    return f"{kind.name} {namespace}/{name}" if namespace else f"{kind.name} {name}"


def _cause(error: BaseException) -> str:
    while isinstance(inner := getattr(error, "reason", None), BaseException):
        error = inner
    text = str(error)
    return text.rpartition(": ")[2] if "Errno" in text else " ".join(text.split())
