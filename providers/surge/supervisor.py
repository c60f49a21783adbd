"""One supervisord per cluster directory: started by the first process, ended with the last one.

It listens on a Unix socket in the directory and is its own session: neither the engine's end nor a
Ctrl-C in its terminal reaches it.
"""

import fcntl
import hashlib
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.states import ProcessStates
from supervisor.xmlrpc import Faults

from . import folders
from .orphans import SUPERVISOR_MARKER, end, marked
from .problems import ProblemError

__all__ = ["ALIVE", "Seen", "Supervisor"]

# supervisord binds NAME.PID first and then renames it; a Unix socket's path may have 107 bytes.
SOCKET_PATH_BYTES = 95
START_S = 20.0
CALL_S = 30.0
# A process that backs off is being restarted: that is the supervisor's business, not drift.
ALIVE = {ProcessStates.STARTING, ProcessStates.RUNNING, ProcessStates.BACKOFF}
PASSED_ON = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPYCACHEPREFIX")


@dataclass(frozen=True)
class Seen:
    """A process as the supervisor sees it. state: of supervisor's ProcessStates; pid: 0 when not running."""

    state: int
    name: str
    pid: int
    exit_status: int
    reason: str


class Supervisor:
    """Calls raise ProblemError when the supervisor cannot be started or does not answer."""

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)
        self.own = self.directory / ".supervisor"
        self.programs = self.own / "programs"
        self.socket = self._socket()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory's lock. The lock's file may be removed by its last holder: then look again."""
        while True:
            self.own.mkdir(mode=0o700, exist_ok=True)
            try:
                file = (self.own / "lock").open("w")
            except FileNotFoundError:
                continue
            with file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if _same(file.fileno(), self.own / "lock"):
                    yield
                    return

    def alive(self) -> bool:
        return self.socket.exists() and self._call("getPID", missing=0, timeout_s=CALL_S) != 0

    def ensure(self) -> None:
        """Start it unless it runs. Call with the lock held."""
        if self.alive():
            return
        self.kill()
        try:
            (self.directory / "logs").mkdir(mode=0o700, exist_ok=True)
            self.programs.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folders.write(self.own / "supervisord.conf", self._configuration())
        except OSError as error:
            raise ProblemError(
                f"{self.own} cannot be written: {error.strerror} ({error.filename})"
            ) from error
        self._start()

    def kill(self) -> None:
        """End a supervisor of this directory that cannot be reached any more, or never could."""
        end(lambda: marked(SUPERVISOR_MARKER, str(self.directory)), timeout_s=5)
        self.socket.unlink(missing_ok=True)

    def add(self, name: str, section: str, program: str) -> None:
        """Make the process known and start it; others are not touched. Call with the lock held."""
        try:
            folders.write(self.programs / f"{name}.json", program)
            folders.write(self.programs / f"{name}.conf", section)
        except OSError as error:
            (self.programs / f"{name}.conf").unlink(missing_ok=True)
            (self.programs / f"{name}.json").unlink(missing_ok=True)
            raise ProblemError(
                f"{self.programs} cannot be written: {error.strerror}. Look at `df -h {self.own}`"
            ) from error
        self._call("reloadConfig")
        self._call("addProcessGroup", name, allowed={Faults.ALREADY_ADDED})
        self._call("startProcess", name, False, allowed={Faults.ALREADY_STARTED, Faults.SPAWN_ERROR})

    def program_file(self, name: str) -> str:
        return str(self.programs / f"{name}.json")

    def stop(self, name: str, *, timeout_s: float) -> None:
        """Stop the process and its group: asked first, killed after its stop timeout; forget it."""
        gone = {Faults.BAD_NAME, Faults.NOT_RUNNING, Faults.STILL_RUNNING}
        if not self.alive():
            return
        self._call("stopProcess", name, True, allowed=gone, timeout_s=timeout_s + CALL_S, missing=None)
        self._call("removeProcessGroup", name, allowed=gone, missing=None)

    def halt(self, name: str) -> None:
        """Stop the process until `resume`; it stays known. For drills."""
        self._call("stopProcess", name, True, allowed={Faults.NOT_RUNNING})

    def resume(self, name: str) -> None:
        self._call("startProcess", name, True, allowed={Faults.ALREADY_STARTED})

    def see(self, name: str) -> Seen | None:
        """The process as it is now; None when the supervisor is gone or does not know it."""
        if not self.socket.exists():
            return None
        info = self._call("getProcessInfo", name, allowed={Faults.BAD_NAME}, missing=None)
        if not isinstance(info, dict):
            return None
        return Seen(info["state"], info["statename"], info["pid"], info["exitstatus"], info["spawnerr"])

    def forget(self, name: str) -> None:
        """Remove the process's section; with the last one, the supervisor ends. Call with the lock held."""
        for suffix in ("conf", "json"):
            (self.programs / f"{name}.{suffix}").unlink(missing_ok=True)
        for log in (self.directory / "logs").glob(f"{name}.log*"):
            log.unlink(missing_ok=True)
        if self.programs.is_dir() and any(self.programs.glob("*.conf")):
            if self.alive():
                self._call("reloadConfig")
            return
        if self.alive():
            self._call("shutdown", missing=None)
            _wait_until_gone(str(self.directory))
        self.kill()
        folders.remove_tree(self.directory / "logs")
        folders.remove_tree(self.own)
        folders.release(self.directory)

    def _configuration(self) -> str:
        own = str(self.own).replace("%", "%%")
        return "\n".join(
            [
                "[unix_http_server]",
                f"file={str(self.socket).replace('%', '%%')}",
                "chmod=0600",
                "[supervisord]",
                f"logfile={own}/supervisord.log",
                "logfile_maxbytes=1000000",
                "logfile_backups=1",
                f"pidfile={own}/supervisord.pid",
                f"childlogdir={own}",
                "umask=077",
                "[rpcinterface:supervisor]",
                "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
                "[include]",
                # Relative to this file: a pattern list is split at spaces, and the directory may have some.
                "files=programs/*.conf",
                "",
            ]
        )

    def _start(self) -> None:
        environment = {key: os.environ[key] for key in PASSED_ON if key in os.environ}
        started = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.own / "supervisord.conf")],
            cwd="/",
            env={**environment, SUPERVISOR_MARKER: str(self.directory)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
            check=False,
        )
        deadline = time.monotonic() + START_S
        while started.returncode == 0 and time.monotonic() < deadline:
            if self.alive():
                return
            time.sleep(0.05)
        said = started.stderr.strip()[-300:] or "no answer"
        raise ProblemError(
            f"the supervisor of {self.directory} did not start: {said}. Look at {self.own}/supervisord.log"
        )

    def _call(
        self,
        method: str,
        *arguments: Any,
        allowed: set[int] | None = None,
        timeout_s: float = CALL_S,
        missing: Any = NotImplemented,
    ) -> Any:
        """The call's result; None after an allowed fault; `missing` (if given) when nobody answers."""
        proxy = xmlrpc.client.ServerProxy("http://supervisor", transport=_Transport(self.socket, timeout_s))
        try:
            return getattr(proxy.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode in (allowed or ()):
                return None
            raise ProblemError(
                f"the supervisor of {self.directory}: {method}: {fault.faultString}"
            ) from fault
        except (OSError, http.client.HTTPException) as error:
            if missing is not NotImplemented:
                return missing
            raise ProblemError(
                f"the supervisor of {self.directory} does not answer ({error}): it may have been killed. "
                "Run the update again: it starts a new one"
            ) from error

    def _socket(self) -> Path:
        path = self.own / "socket"
        if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
            return path
        key = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        base = os.environ.get("XDG_RUNTIME_DIR") or (
            "/run" if os.getuid() == 0 else f"{tempfile.gettempdir()}/surge-{os.getuid()}"
        )
        return Path(base) / f"surge-{key}.sock"


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("supervisor", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__()
        self._path, self._timeout_s = path, timeout_s

    def make_connection(self, host: Any) -> _Connection:
        del host
        return _Connection(self._path, self._timeout_s)


def _same(descriptor: int, path: Path) -> bool:
    try:
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _wait_until_gone(directory: str) -> None:
    deadline = time.monotonic() + CALL_S
    while marked(SUPERVISOR_MARKER, directory) and time.monotonic() < deadline:
        time.sleep(0.05)
