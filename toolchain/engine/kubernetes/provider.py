"""The ResourceProvider service of the `kubernetes` package."""

# ruff: noqa: N802 (the names are those of the gRPC service)

import functools
import importlib.metadata
import json
from collections.abc import Callable
from threading import Event
from typing import Any

import grpc
from google.protobuf import any_pb2, empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from .applying import Tell
from .diffs import Change, path_text
from .naming import name_of
from .operations import Asked, Operations, PartialError
from .problems import ProblemError, redact
from .settings import ProviderSettings, replaced_by
from .wire import decode, encode, reveal, secret_texts

__all__ = ["KubernetesProvider", "Log", "version"]

# (severity, urn, message, ephemeral); severity as in Pulumi's engine: info, warning, error.
Log = Callable[[str, str, str, bool], None]

KINDS = provider_pb2.PropertyDiff
DIFF_KIND = {
    ("add", False): KINDS.ADD,
    ("add", True): KINDS.ADD_REPLACE,
    ("delete", False): KINDS.DELETE,
    ("delete", True): KINDS.DELETE_REPLACE,
    ("update", False): KINDS.UPDATE,
    ("update", True): KINDS.UPDATE_REPLACE,
}


def version() -> str:
    """The version of the SDK that programs use: the engine asks for a plugin that is no older."""
    return importlib.metadata.version("pulumi-kubernetes")


def _answering(method: Callable[..., Any]) -> Callable[..., Any]:
    """A ProblemError becomes the call's error, in one line and without the secrets of the request."""

    @functools.wraps(method)
    def answer(self: "KubernetesProvider", request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except PartialError as error:
            _abort_partial(context, error, _secrets(request))
        except ProblemError as error:
            context.abort(grpc.StatusCode.UNKNOWN, redact(str(error), _secrets(request)))

    return answer


class KubernetesProvider(provider_pb2_grpc.ResourceProviderServicer):
    """log: where warnings and progress go."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._cancelled = Event()
        self._operations = Operations(ProviderSettings(known=False), self._cancelled)

    def cancel(self) -> None:
        """End every wait: what was written is reported as written, but not ready."""
        self._cancelled.set()

    def GetPluginInfo(self, request: Any, context: Any) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=version())

    def GetSchema(self, request: Any, context: Any) -> provider_pb2.GetSchemaResponse:
        return provider_pb2.GetSchemaResponse(schema=json.dumps({"name": "kubernetes", "version": version()}))

    def Cancel(self, request: Any, context: Any) -> empty_pb2.Empty:
        self.cancel()
        return empty_pb2.Empty()

    @_answering
    def CheckConfig(self, request: provider_pb2.CheckRequest, context: Any) -> provider_pb2.CheckResponse:
        ProviderSettings.parse(decode(request.news))
        return provider_pb2.CheckResponse(inputs=request.news)

    @_answering
    def DiffConfig(self, request: provider_pb2.DiffRequest, context: Any) -> provider_pb2.DiffResponse:
        old, new = decode(request.olds), decode(request.news)
        changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
        if not changed:
            return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME, diffs=changed, replaces=replaced_by(old, new)
        )

    @_answering
    def Configure(
        self, request: provider_pb2.ConfigureRequest, context: Any
    ) -> provider_pb2.ConfigureResponse:
        self._operations = Operations(ProviderSettings.parse(decode(request.args)), self._cancelled)
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
        )

    @_answering
    def Invoke(self, request: provider_pb2.InvokeRequest, context: Any) -> provider_pb2.InvokeResponse:
        raise ProblemError(
            f"{request.tok}: functions are not served by the bundled kubernetes plugin yet (Helm and YAML "
            f"come later). Use plain resources, or the official plugin (SURGE_ENGINE=official)"
        )

    @_answering
    def Construct(
        self, request: provider_pb2.ConstructRequest, context: Any
    ) -> provider_pb2.ConstructResponse:
        raise ProblemError(
            f"{request.type}: components are not served by the bundled kubernetes plugin yet (Helm charts, "
            f"YAML and Kustomize come later). Use plain resources, or the official plugin "
            f"(SURGE_ENGINE=official)"
        )

    @_answering
    def Check(self, request: provider_pb2.CheckRequest, context: Any) -> provider_pb2.CheckResponse:
        name = request.name or request.urn.rpartition("::")[2]
        inputs = self._operations.check(
            _token(request),
            name,
            decode(request.olds),
            decode(request.news),
            seed=request.randomSeed,
            proposed=_proposed(request),
        )
        return provider_pb2.CheckResponse(inputs=encode(inputs))

    @_answering
    def Diff(self, request: provider_pb2.DiffRequest, context: Any) -> provider_pb2.DiffResponse:
        plan = self._operations.diff(
            _token(request), decode(request.olds), decode(request.news), tuple(request.ignoreChanges)
        )
        some = provider_pb2.DiffResponse.DIFF_SOME if plan.changes else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(
            changes=some,
            replaces=[path_text(one.path) for one in plan.changes if one.replaces],
            diffs=sorted({str(one.path[0]) for one in plan.changes}),
            deleteBeforeReplace=plan.delete_first,
            detailedDiff={path_text(one.path): _shown(one) for one in plan.changes},
            hasDetailedDiff=True,
        )

    @_answering
    def Create(self, request: provider_pb2.CreateRequest, context: Any) -> provider_pb2.CreateResponse:
        asked = Asked(self._tell(request), request.timeout, request.preview)
        identifier, outputs = self._operations.create(_token(request), decode(request.properties), asked)
        return provider_pb2.CreateResponse(id=identifier, properties=encode(outputs))

    @_answering
    def Update(self, request: provider_pb2.UpdateRequest, context: Any) -> provider_pb2.UpdateResponse:
        asked = Asked(self._tell(request), request.timeout, request.preview, tuple(request.ignoreChanges))
        outputs = self._operations.update(_token(request), decode(request.olds), decode(request.news), asked)
        return provider_pb2.UpdateResponse(properties=encode(outputs))

    @_answering
    def Read(self, request: provider_pb2.ReadRequest, context: Any) -> provider_pb2.ReadResponse:
        state, inputs = decode(request.properties), decode(request.inputs)
        asked = Asked(self._tell(request))
        found = self._operations.read(_token(request), request.id, state, inputs, asked)
        if found is None:
            return provider_pb2.ReadResponse()
        outputs, inputs = found
        return provider_pb2.ReadResponse(id=request.id, properties=encode(outputs), inputs=encode(inputs))

    @_answering
    def Delete(self, request: provider_pb2.DeleteRequest, context: Any) -> empty_pb2.Empty:
        asked = Asked(self._tell(request), request.timeout)
        self._operations.delete(_token(request), request.id, decode(request.properties), asked)
        return empty_pb2.Empty()

    def _tell(self, request: Any) -> Tell:
        secrets = functools.cache(lambda: _secrets(request))

        def tell(message: str, lasting: bool) -> None:
            self._log("warning" if lasting else "info", request.urn, redact(message, secrets()), not lasting)

        return tell


def _token(request: Any) -> str:
    """urn:pulumi:<stack>::<project>::<parents and type>::<name>"""
    return request.type or request.urn.split("::")[2].rpartition("$")[2]


def _proposed(request: provider_pb2.CheckRequest) -> str | None:
    """The engine's own wish for a name (`pulumi:autonaming` in the stack's configuration)."""
    if not request.HasField("autonaming"):
        return None
    modes = provider_pb2.CheckRequest.AutonamingOptions
    if request.autonaming.mode == modes.DISABLE and not name_of(reveal(decode(request.news))):
        raise ProblemError(
            "autonaming is disabled in the stack's configuration: give the resource a metadata.name"
        )
    return request.autonaming.proposed_name or None


def _shown(change: Change) -> provider_pb2.PropertyDiff:
    return provider_pb2.PropertyDiff(kind=DIFF_KIND[change.operation, change.replaces], inputDiff=True)


def _secrets(request: Any) -> set[str]:
    """Every secret text that came with the request, and the values of a Secret."""
    found: set[str] = set()
    for field in ("olds", "news", "properties", "inputs", "old_inputs", "args"):
        struct = getattr(request, field, None)
        if isinstance(struct, struct_pb2.Struct):
            found |= secret_texts(decode(struct))
    return found


def _abort_partial(context: grpc.ServicerContext, error: PartialError, secrets: set[str]) -> None:
    """The error that tells the engine to keep the object's state all the same."""
    message = redact(str(error), secrets)
    detail = any_pb2.Any()
    detail.Pack(
        provider_pb2.ErrorResourceInitFailed(
            id=error.identifier,
            properties=encode(error.properties),
            reasons=[redact(reason, secrets) for reason in error.reasons],
        )
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=message, details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, message)
