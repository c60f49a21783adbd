"""The worker under check: a command, or a container, which is a command too."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Process", "Subject", "container_engine"]

LAST_WORDS = 500
IN_CONTAINER = "/etc/surge/broker"


@dataclass(frozen=True)
class Subject:
    """command: what to run. engine: docker or podman, when `command` is an image and its arguments."""

    command: Sequence[str]
    engine: str = ""

    def line(self, environment: Mapping[str, str], url_file: Path) -> list[str]:
        """The command line that starts it with this environment and the file of its broker's URL."""
        if not self.engine:
            return list(self.command)
        # Its broker and its probe port are on this machine's loopback, so it shares our network; the
        # engine passes SIGTERM on, and ends with the container's exit code.
        told = {**environment, "SURGE_AMQP_URL_FILE": f"{IN_CONTAINER}/{url_file.name}"}
        variables = [part for name, value in told.items() for part in ("--env", f"{name}={value}")]
        mount = f"{url_file.parent}:{IN_CONTAINER}:ro"
        return [self.engine, "run", "--rm", "--network=host", "--volume", mount, *variables, *self.command]


def container_engine() -> str | None:
    """docker or podman, whichever is there and answers; None where neither does."""
    for engine in ("docker", "podman"):
        path = shutil.which(engine)
        if path is None:
            continue
        with suppress(OSError, subprocess.TimeoutExpired):
            asked = subprocess.run([path, "info"], capture_output=True, timeout=20, check=False)
            if asked.returncode == 0:
                return path
    return None


class Process:
    """A running subject. Its output goes to a file beside its URL."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @classmethod
    async def start(cls, subject: Subject, environment: Mapping[str, str], url_file: Path) -> "Process":
        """Raises OSError when there is no such command."""
        log = url_file.parent.parent / "output"
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *subject.line(environment, url_file),
                env={**os.environ, **environment, "SURGE_AMQP_URL_FILE": str(url_file)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return cls(process, log)

    @property
    def over(self) -> bool:
        return self._process.returncode is not None

    @property
    def end(self) -> str:
        """How it ended, and its last words."""
        code = self._process.returncode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        words = " / ".join(self._log.read_text(errors="replace").strip().splitlines()[-3:])
        return f"it {how}; its last words: {words[-LAST_WORDS:]}" if words else f"it {how}, without a word"

    @property
    def code(self) -> int | None:
        return self._process.returncode

    def terminate(self) -> None:
        """SIGTERM, to the process alone, as the kubelet sends it."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
