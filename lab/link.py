"""A network between a client and a port on loopback that can be made slow, or silent, while it runs."""

import socket
import ssl
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

__all__ = ["Link"]

BYTES = 65_536


class Link:
    """Listens on `port` while the block runs; its end cuts what is connected.

    delay_s: wall seconds that every piece of an answer waits.

    tls: ends TLS here, as a load balancer before a broker would.
    """

    def __init__(self, port: int, target_port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self.delay_s = 0.0
        self._target_port = target_port
        self._tls = tls
        self._over = threading.Event()
        self._clients: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        # Closing alone does not wake the thread that accepts.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in self._clients:
            with suppress(OSError):  # it has gone by itself
                client.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._clients.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            with socket.create_connection(("127.0.0.1", self._target_port)) as target:
                back = threading.Thread(target=self._copy, args=(target, client, True), daemon=True)
                back.start()
                self._copy(client, target, False)
                back.join()

    def _copy(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(BYTES):
                if answers and self.delay_s and self._over.wait(self.delay_s):
                    return
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
