"""Start the plugin: print the port it listens on, serve until the engine ends it."""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2_grpc

from .provider import KubernetesProvider

# A resource that waits holds a thread, and Cancel must still find one.
THREADS = 256
SEVERITY = {"info": engine_pb2.INFO, "warning": engine_pb2.WARNING, "error": engine_pb2.ERROR}


def main(engine: str) -> None:
    stub = engine_pb2_grpc.EngineStub(grpc.insecure_channel(engine))

    def log(severity: str, urn: str, message: str, ephemeral: bool) -> None:
        stub.Log(
            engine_pb2.LogRequest(severity=SEVERITY[severity], urn=urn, message=message, ephemeral=ephemeral)
        )

    server = grpc.server(
        ThreadPoolExecutor(THREADS),
        options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(KubernetesProvider(log), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main(sys.argv[1])
