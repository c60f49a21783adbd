"""One server process: startup, main loop, shutdown."""

import asyncio
import resource
import signal
import socket
from collections.abc import Callable
from functools import partial
from types import FrameType

import structlog
import uvicorn

from metrics_server.api import Shortcut, build_app
from metrics_server.config import Config, ConfigError, Followed, read_filters, read_tokens
from metrics_server.door import Door
from metrics_server.listener import Listener, bound
from metrics_server.memory import give_back
from metrics_server.protocol import Bounded
from metrics_server.sampler import Sampler
from metrics_server.tls import Rotating

__all__ = ["SaturationServer"]

log = structlog.get_logger("server")

FOLLOW_S = 1.0
# Longer than the 90 s for which KEDA keeps an idle connection: else each poll is a new handshake.
KEEP_ALIVE_S = 120
SHUTDOWN_S = 10
LINGER_S = 0.5


class SaturationServer:
    """Raises ConfigError at construction when a file it needs is wrong."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.draining = False
        self.sampling = True
        self._filters, self._tokens = Followed(config.filters_file), Followed(config.token_file)
        self._wrong: dict[str, str] = {}
        self.tokens = read_tokens(self._tokens.changed() or b"", str(config.token_file))
        self.sampler = Sampler(config)
        self.sampler.use(read_filters(self._filters.changed() or b"", str(config.filters_file)))
        self._tls = Rotating.of(config)
        self.door = build_app(self.sampler, self)
        self.uvicorn = _Uvicorn(self, _uvicorn_config(config, self.door), self._tls)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT: unready, a short grace, stop accepting, drain, return.

        Raises ConfigError when the address cannot be had.
        """
        _allow_descriptors()
        tcp = bound(self.config.host, self.config.port)
        sampling = asyncio.create_task(self.sampler.run(), name="sampler")
        following = asyncio.create_task(self._follow(), name="files")
        sampling.add_done_callback(self._sampler_ended)
        following.add_done_callback(self.part_ended)
        log.info("serving", host=self.config.host, port=self.config.port, filters=len(self.sampler.specs))
        try:
            await self.uvicorn.serve([tcp])
        finally:
            for task in (sampling, following):
                task.cancel()
            ended = await asyncio.gather(sampling, following, return_exceptions=True)
            log.info("ended")
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome

    def begin_drain(self) -> None:
        """Tell /readyz first; clients get `grace_s` to notice before the socket closes."""
        if not self.draining:
            self.draining = True
            log.info("draining", grace_s=self.config.grace_s)
            asyncio.get_running_loop().call_later(self.config.grace_s, self._stop_accepting)

    def _stop_accepting(self) -> None:
        self.uvicorn.should_exit = True

    def _sampler_ended(self, task: asyncio.Task[None]) -> None:
        self.sampling = False
        self.part_ended(task)

    def part_ended(self, task: asyncio.Task[None]) -> None:
        """A server without one of its parts would look well and be none."""
        if not task.cancelled() and task.exception() is not None:
            log.error("a part failed", part=task.get_name(), why=repr(task.exception()))
            self.uvicorn.should_exit = True

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_S)
            self._try("filters", self._reload_filters)
            self._try("tokens", self._reload_tokens)
            self._try("certificate", self._reload_certificate)
            give_back()

    def _try(self, what: str, reload: Callable[[], bool]) -> None:
        """A wrong file changes nothing: the last good content stays, and one line says so."""
        try:
            if reload():
                self._wrong.pop(what, None)
        except ConfigError as error:
            if self._wrong.get(what) != str(error):
                self._wrong[what] = str(error)
                log.warning("file refused, the last good one stays", what=what, why=str(error))

    def _reload_filters(self) -> bool:
        content = self._filters.changed()
        if content is None:
            return False
        before = self.sampler.snapshot.known
        self.sampler.use(read_filters(content, str(self.config.filters_file)))
        known = self.sampler.snapshot.known
        log.info("filters reloaded", added=sorted(known - before)[:20], removed=sorted(before - known)[:20])
        return True

    def _reload_tokens(self) -> bool:
        content = self._tokens.changed()
        if content is None:
            return False
        self.tokens = read_tokens(content, str(self.config.token_file))
        log.info("tokens reloaded", accepted=len(self.tokens))
        return True

    def _reload_certificate(self) -> bool:
        if self._tls is None or not self._tls.reload():
            return False
        log.info("certificate reloaded")
        return True


class _Uvicorn(uvicorn.Server):
    """uvicorn over our own listener, told to leave by us: its handler would close the socket at once."""

    listener: Listener
    accepting: asyncio.Task[None]

    def __init__(self, owner: SaturationServer, config: uvicorn.Config, tls: Rotating | None) -> None:
        super().__init__(config)
        self.owner = owner
        self.tls = tls
        self.loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        [tcp] = sockets or []
        protocol = partial(
            Bounded,
            limits=self.owner.config.limits,
            at_once=Shortcut(self.owner.door, self.owner.sampler),
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        most = self.owner.config.limits.connections
        self.listener = Listener(tcp, self.tls, protocol, self.server_state.connections, most)
        self.accepting = asyncio.create_task(self.listener.run(), name="listener")
        self.accepting.add_done_callback(self.owner.part_ended)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.accepting.cancel()
        # Whoever has just been let in is about to ask; uvicorn would hang up on them.
        await asyncio.sleep(LINGER_S)
        await super().shutdown(sockets)
        if not self.accepting.cancelled():
            self.accepting.result()  # raises what ended it

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.owner.draining and sig == signal.SIGINT:
            self.force_exit = True
        elif self.loop is not None:
            self.loop.call_soon_threadsafe(self.owner.begin_drain)


def _allow_descriptors() -> None:
    """A shell's soft limit is often 1,024; each connection takes one descriptor."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _uvicorn_config(config: Config, app: Door) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=config.host,
        port=config.port,
        http=Bounded,
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
        lifespan="off",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        log_config=None,
        workers=1,
    )
