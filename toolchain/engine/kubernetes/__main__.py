"""Start the plugin: print the port it listens on, and serve until the engine ends or is gone."""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2_grpc

from .provider import KubernetesProvider, Log

# A resource that waits holds a thread, and Cancel must still find one.
THREADS = 256
# A large CustomResourceDefinition is past gRPC's 4 MiB.
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
SEVERITY = {"info": engine_pb2.INFO, "warning": engine_pb2.WARNING, "error": engine_pb2.ERROR}


def main(engine: str) -> None:
    """engine: host:port of Pulumi's engine."""
    channel = grpc.insecure_channel(engine, options=UNLIMITED)
    provider = KubernetesProvider(_log_to(channel))
    server = grpc.server(ThreadPoolExecutor(THREADS), options=UNLIMITED)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    over = _lost(channel)
    # The engine has us in a process group of our own, where no Ctrl-C of a terminal comes: this is how
    # it closes a plugin, and it waits 5 s for the end before it kills.
    signal.signal(signal.SIGINT, lambda _signal, _frame: over.set())
    print(port, flush=True)
    over.wait()
    provider.cancel()
    server.stop(None).wait()
    os._exit(0)  # a thread in the middle of a request would hold an orderly exit for up to a minute


def _log_to(channel: grpc.Channel) -> Log:
    stub = engine_pb2_grpc.EngineStub(channel)

    def log(severity: str, urn: str, message: str, ephemeral: bool) -> None:
        stub.Log(
            engine_pb2.LogRequest(severity=SEVERITY[severity], urn=urn, message=message, ephemeral=ephemeral)
        )

    return log


def _lost(channel: grpc.Channel) -> Event:
    """Set once the engine does not answer any more: a plugin must not outlive it."""
    lost = Event()

    def look(state: grpc.ChannelConnectivity) -> None:
        if state is grpc.ChannelConnectivity.IDLE:  # the connection is gone: is there another one?
            channel.subscribe(_nothing, try_to_connect=True)
        if state in {grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN}:
            lost.set()

    channel.subscribe(look, try_to_connect=True)
    return lost


def _nothing(state: grpc.ChannelConnectivity) -> None:
    del state


if __name__ == "__main__":
    main(sys.argv[1])
