"""Serves the kubernetes provider to the engine."""

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2_grpc

from toolchain.engine.plugin import UNLIMITED, serve

from .provider import KubernetesProvider, Log

__all__ = ["main"]

# A resource that waits holds a thread, and Cancel must still find one.
THREADS = 256
SEVERITY = {"info": engine_pb2.INFO, "warning": engine_pb2.WARNING, "error": engine_pb2.ERROR}


def main(engine: str) -> None:
    """engine: host:port of Pulumi's engine."""
    provider = KubernetesProvider(_log_to(grpc.insecure_channel(engine, options=UNLIMITED)))

    def register(server: grpc.Server) -> None:
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)

    try:
        serve(engine, register, threads=THREADS)
    finally:
        provider.cancel()


def _log_to(channel: grpc.Channel) -> Log:
    stub = engine_pb2_grpc.EngineStub(channel)

    def log(severity: str, urn: str, message: str, ephemeral: bool) -> None:
        stub.Log(
            engine_pb2.LogRequest(severity=SEVERITY[severity], urn=urn, message=message, ephemeral=ephemeral)
        )

    return log
