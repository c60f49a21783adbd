"""The bundled `random` plugin: passwords, strings, ids and bytes as in pulumi-random 4.

Every change of an input replaces the resource. Values come from Python's `secrets`.
"""

# ruff: noqa: N802 (the names are those of the gRPC service)

import importlib.metadata
import sys
from typing import Any

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from toolchain.engine.kubernetes.wire import UNKNOWN, Secret, decode, encode, has_unknown, reveal
from toolchain.engine.plugin import serve
from toolchain.engine.random_kinds import KINDS, Kind

__all__ = ["RandomProvider", "main"]

TOKEN = "random:index/{0}:{1}"  # noqa: S105 (a resource's type)
BY_TOKEN = {TOKEN.format(kind.name[0].lower() + kind.name[1:], kind.name): kind for kind in KINDS}
Properties = dict[str, Any]


def main(engine: str) -> None:
    serve(
        engine,
        lambda server: provider_pb2_grpc.add_ResourceProviderServicer_to_server(RandomProvider(), server),
    )


class RandomProvider(provider_pb2_grpc.ResourceProviderServicer):
    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets=True, accept_resources=True, accept_outputs=False
        )

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        """The SDK's version: the engine asks for a plugin that is no older."""
        return plugin_pb2.PluginInfo(version=importlib.metadata.version("pulumi-random"))

    def GetSchema(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.GetSchemaResponse:
        return provider_pb2.GetSchemaResponse(schema="{}")

    def CheckConfig(
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: grpc.ServicerContext) -> provider_pb2.ConfigureResponse:
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, acceptResources=True, acceptOutputs=False
        )

    def Check(
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        problems = _kind(request, context).problems(reveal(decode(request.news)))
        failures = [provider_pb2.CheckFailure(property=name, reason=text) for name, text in problems]
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    def Diff(
        self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext
    ) -> provider_pb2.DiffResponse:
        kind = _kind(request, context)
        old = kind.complete(reveal(decode(request.old_inputs)) or reveal(decode(request.olds)))
        new = kind.complete(reveal(decode(request.news)))
        ignored = set(request.ignoreChanges)
        changed = sorted(
            name for name in kind.inputs if name not in ignored and _differ(old.get(name), new.get(name))
        )
        update = provider_pb2.PropertyDiff(kind=provider_pb2.PropertyDiff.UPDATE_REPLACE, inputDiff=True)
        some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(
            changes=some if changed else none,
            replaces=changed,
            diffs=changed,
            detailedDiff=dict.fromkeys(changed, update),
            hasDetailedDiff=True,
        )

    def Create(
        self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CreateResponse:
        kind = _kind(request, context)
        given = decode(request.properties)
        inputs = kind.complete(given)
        if request.preview or has_unknown(given):
            outputs = dict.fromkeys(kind.outputs, UNKNOWN)
            return provider_pb2.CreateResponse(id="", properties=_state(kind, inputs, outputs))
        outputs = kind.generate(reveal(inputs))
        return provider_pb2.CreateResponse(id=kind.id_of(outputs), properties=_state(kind, inputs, outputs))

    def Read(
        self, request: provider_pb2.ReadRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ReadResponse:
        """A known resource is as its state says; an unknown one is imported from its id."""
        if request.properties.fields:
            return provider_pb2.ReadResponse(
                id=request.id, properties=request.properties, inputs=request.inputs
            )
        kind = _kind(request, context)
        try:
            inputs, outputs = kind.read(request.id)
        except ValueError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{kind.name} cannot be imported: {error}")
        return provider_pb2.ReadResponse(
            id=kind.id_of(outputs),
            properties=_state(kind, kind.complete(inputs), outputs),
            inputs=encode(inputs),
        )

    def Update(
        self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext
    ) -> provider_pb2.UpdateResponse:
        """Nothing is ever updated in place; the engine asks when only a secret mark has changed."""
        return provider_pb2.UpdateResponse(properties=request.olds)

    def Delete(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:
        return empty_pb2.Empty()


def _kind(request: Any, context: grpc.ServicerContext) -> Kind:
    token = request.type or request.urn.split("::")[2].rsplit("$", 1)[-1]
    if token not in BY_TOKEN:
        context.abort(
            grpc.StatusCode.UNIMPLEMENTED,
            f"the bundled random plugin has no {token}, only {', '.join(sorted(BY_TOKEN))}. "
            "With Pulumi's own plugin: SURGE_ENGINE=official",
        )
    return BY_TOKEN[token]


def _differ(old: Any, new: Any) -> bool:
    return has_unknown(new) or old != new


def _state(kind: Kind, inputs: Properties, outputs: Properties) -> struct_pb2.Struct:
    hidden = {name: Secret(value) if name in kind.secret else value for name, value in outputs.items()}
    return encode({**inputs, **hidden})


if __name__ == "__main__":
    main(sys.argv[-1])
