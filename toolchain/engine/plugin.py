"""What every bundled plugin does: serve on loopback, print the port, end with the engine."""

import gc
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import grpc

__all__ = ["UNLIMITED", "serve"]

# Large resources are past gRPC's 4 MiB.
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
GRACE_S = 2.0


def serve(engine: str, register: Callable[[grpc.Server], None], *, threads: int = 64) -> None:
    """Serve until SIGINT or SIGTERM, or until the engine is gone; then give running calls GRACE_S.

    engine: host:port of Pulumi's engine. register: adds the services to the server.
    SIGINT is how the engine ends a plugin: one that ignores it costs 5 s at the end of each command.
    Ctrl-C does not reach us, as the engine starts plugins in process groups of their own.
    """
    # What is loaded stays: it need not be walked while we serve, nor taken apart at the end.
    gc.freeze()
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _signal, _frame: stop.set())
    server = grpc.server(ThreadPoolExecutor(threads), options=UNLIMITED)
    register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    channel = grpc.insecure_channel(engine)
    _set_when_lost(channel, stop)
    stop.wait()
    server.stop(GRACE_S).wait()
    channel.close()


def _set_when_lost(channel: grpc.Channel, lost: Event) -> None:
    def look(state: grpc.ChannelConnectivity) -> None:
        if state is grpc.ChannelConnectivity.IDLE:  # the connection is gone: is there another one?
            channel.subscribe(lambda _state: None, try_to_connect=True)
        if state in {grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN}:
            lost.set()

    channel.subscribe(look, try_to_connect=True)
