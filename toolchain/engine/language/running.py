"""Start the program's process, hand it its request, and end it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pulumi.runtime.proto import language_pb2

__all__ = ["REPORTED", "Programs"]

PROGRAM = Path(__file__).with_name("program.py")
# The program's exit code when the engine has its error already.
REPORTED = 32
GRACE_S = 3.0


class Programs:
    """The programs that run for one engine; thread-safe."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._ended = False

    def run(self, python: Path, request: language_pb2.RunRequest) -> int:
        """Return the exit code; negative: the signal that ended it.

        The program is a process group of its own. Its request, which holds the configuration's
        secrets, goes through a pipe: arguments and environment can be read by others.
        """
        directory = request.info.program_directory or request.pwd
        message = language_pb2.RunRequest()
        message.CopyFrom(request)
        message.args[:] = [self._engine, *request.args]
        read_end, write_end = os.pipe()
        with self._lock:
            if self._ended:
                os.close(read_end)
                os.close(write_end)
                return -signal.SIGTERM
            sys.stdout.flush()
            process = subprocess.Popen(
                [str(python), "-u", str(PROGRAM), str(read_end)],
                cwd=directory,
                env=_environment(python, os.environ),
                stdin=subprocess.DEVNULL,
                pass_fds=[read_end],
                process_group=0,
            )
            self._running.add(process)
        os.close(read_end)
        try:
            _send(write_end, message.SerializeToString())
            return process.wait()
        finally:
            os.close(write_end)
            with self._lock:
                self._running.discard(process)
            _signal(process, signal.SIGKILL)

    def end(self) -> None:
        """End every program, and start no more."""
        with self._lock:
            self._ended = True
            running = list(self._running)
        for process in running:
            _signal(process, signal.SIGTERM)
        for process in running:
            try:
                process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)

    @property
    def ended(self) -> bool:
        return self._ended


def _environment(python: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """As after `activate`."""
    path = os.pathsep.join([str(python.parent), environment.get("PATH", os.defpath)])
    return {**environment, "PATH": path, "VIRTUAL_ENV": str(python.parent.parent)}


def _send(fd: int, message: bytes) -> None:
    with suppress(BrokenPipeError):  # it died first: its exit code tells
        data = len(message).to_bytes(4) + message
        while data:
            data = data[os.write(fd, data) :]


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
