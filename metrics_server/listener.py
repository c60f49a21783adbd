"""Accepts connections: one counts from its first packet on, and its TLS handshake has HEAD_S.

The event loop shows a connection to its protocol after the handshake, for which it gives a minute: whoever
opens connections and stays silent would be counted nowhere. Here, when there are too many, the oldest
handshake makes way: a client that means it is through within milliseconds.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Collection
from contextlib import suppress

import structlog

from metrics_server.config import ConfigError
from metrics_server.protocol import HEAD_S

__all__ = ["Listener", "bound"]

log = structlog.get_logger("server")

BACKLOG = 2048
AGAIN_S = 0.1
SAY_AGAIN_S = 60.0


class Listener:
    """Hands what comes in on `tcp` to a protocol of its own each, in TLS unless `tls` is None.

    served: the protocols whose handshake is done. most: connections, with those in their handshake.
    """

    def __init__(
        self,
        tcp: socket.socket,
        tls: ssl.SSLContext | None,
        protocol: Callable[[], asyncio.Protocol],
        served: Collection[object],
        most: int,
    ) -> None:
        self._tcp, self._tls, self._protocol = tcp, tls, protocol
        self._served, self._most = served, most
        self._handshakes: dict[asyncio.Protocol, asyncio.Task[None]] = {}
        self._said_at = float("-inf")

    @property
    def port(self) -> int:
        return self._tcp.getsockname()[1]

    async def run(self) -> None:
        """Accept until cancelled, then close the socket."""
        with self._tcp:
            self._tcp.setblocking(False)
            self._tcp.listen(BACKLOG)
            while True:
                self._let_in(await self._accepted())
                # A flood of new ones must not keep the others waiting.
                await asyncio.sleep(0)

    async def _accepted(self) -> socket.socket:
        while True:
            try:
                return (await asyncio.get_running_loop().sock_accept(self._tcp))[0]
            except OSError as error:
                self._say("no connection accepted", why=error.strerror)
                await asyncio.sleep(AGAIN_S)

    def _let_in(self, tcp: socket.socket) -> None:
        if not self._has_room():
            tcp.close()
            return
        protocol = self._protocol()
        task = asyncio.get_running_loop().create_task(self._shake_hands(tcp, protocol))
        self._handshakes[protocol] = task
        task.add_done_callback(lambda _: self._handshakes.pop(protocol, None))

    def _has_room(self) -> bool:
        shaking = [each for each in self._handshakes if each not in self._served]
        if len(shaking) + len(self._served) < self._most:
            return True
        self._say("connection closed, there are too many", limit=self._most)
        if not shaking:
            return False
        self._handshakes.pop(shaking[0]).cancel()
        return True

    async def _shake_hands(self, tcp: socket.socket, protocol: asyncio.Protocol) -> None:
        limit_s = None if self._tls is None else HEAD_S
        with suppress(OSError):  # an alert, an end or silence from the other side
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol, tcp, ssl=self._tls, ssl_handshake_timeout=limit_s
            )

    def _say(self, event: str, **why: object) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._said_at > SAY_AGAIN_S:
            self._said_at = now
            log.warning(event, **why)


def bound(host: str, port: int) -> socket.socket:
    """Return a socket at the address. Raises ConfigError when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    tcp = socket.socket(family)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        tcp.bind((host, port))
    except OSError as error:
        tcp.close()
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror}; see who does: ss -ltnp 'sport = :{port}'"
        ) from None
    return tcp
