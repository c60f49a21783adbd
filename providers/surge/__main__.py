"""Start the provider: print the port it listens on, and serve until the engine ends or is gone."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf import any_pb2
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.server import ProviderServicer
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2, provider_pb2_grpc, status_pb2

from .problems import PartialError, ProblemError
from .provider import SurgeProvider
from .resources import VERSION

__all__ = ["main"]

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def main(engine: str) -> None:
    """engine: host:port of Pulumi's engine."""
    asyncio.run(_serve(engine))


async def _serve(engine: str) -> None:
    channel = grpc.insecure_channel(engine, options=UNLIMITED)
    parent = os.getppid()
    loop = asyncio.get_running_loop()
    lost = asyncio.Event()
    # SIGINT is how the engine ends a plugin: ignoring it costs 5 s at the end of each command. Ctrl-C
    # does not reach us, as the engine starts plugins in process groups of their own.
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lost.set)

    provider = SurgeProvider(_log_to(channel))
    server = grpc.aio.server(options=UNLIMITED)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(_Servicer([], VERSION, provider, engine), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    # A plugin must not outlive its engine, and a killed engine cannot say so; its channel then only
    # goes idle, so the parent's id is what tells.
    while not lost.is_set() and os.getppid() == parent:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(lost.wait(), 1)
    await provider.cancel()
    # A create that waits ends now; its answer keeps what it made in the state.
    await server.stop(5)


class _Servicer(ProviderServicer):
    """The SDK's servicer, with errors as the engine expects them: readable, and partial where they are."""

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await _explained(super().Check(request, context), context)

    async def Diff(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await _explained(super().Diff(request, context), context)

    async def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await _explained(super().Create(request, context), context)

    async def Read(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await _explained(super().Read(request, context), context)

    async def Update(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await _explained(super().Update(request, context), context)

    async def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        return await _explained(super().Delete(request, context), context)


async def _explained(call: Awaitable[Any], context: Any) -> Any:
    try:
        return await call
    except PartialError as error:
        await context.abort(grpc.StatusCode.UNKNOWN, str(error), _init_failed(error))
    except ProblemError as error:
        await context.abort(grpc.StatusCode.UNKNOWN, str(error))


def _init_failed(error: PartialError) -> tuple[tuple[str, bytes]]:
    """The detail that tells the engine to keep the state all the same."""
    detail = any_pb2.Any()
    detail.Pack(
        provider_pb2.ErrorResourceInitFailed(
            id=error.identifier,
            properties=PropertyValue.marshal_map(error.properties),
            reasons=[str(error)],
        )
    )
    code = grpc.StatusCode.UNKNOWN.value[0]
    status = status_pb2.Status(code=code, message=str(error), details=[detail])
    return (("grpc-status-details-bin", status.SerializeToString()),)


def _log_to(channel: grpc.Channel) -> Callable[[str, str], None]:
    stub = engine_pb2_grpc.EngineStub(channel)

    def log(urn: str, message: str) -> None:
        stub.Log(
            engine_pb2.LogRequest(severity=engine_pb2.INFO, urn=urn, message=message, ephemeral=True),
            timeout=5,
        )

    return log


if __name__ == "__main__":
    main(sys.argv[1])
