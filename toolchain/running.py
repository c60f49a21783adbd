"""Commands that end with us: a group of their own, no leftover child, SIGTERM as Ctrl-C."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

__all__ = ["FULL_DISK", "alone", "end_like_ctrl_c", "explain", "running"]

FULL_DISK = "the disk is full. Make room, then run the same command again; look at: df -h . /tmp"


@contextmanager
def running(
    command: list[str],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    output: IO[bytes] | None = None,
    whole: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command; when the block is left early, end it and all its children, and wait.

    whole: it must not be cut off; leaving early waits until it has ended by itself. A second Ctrl-C
    leaves it running.
    """
    process = subprocess.Popen(
        command, cwd=cwd, env=environment, process_group=0,
        stdin=subprocess.DEVNULL, stdout=output, stderr=output and subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            if whole:
                print(f"{command[0]} must not be cut off: stopping when it has ended", flush=True)
            else:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
            process.wait()


@contextmanager
def alone(folder: Path, what: str) -> Iterator[None]:
    """Hold a folder against other runs like this one; waits for them, and says so."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{what}: waiting for another run that works in {folder}", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def end_like_ctrl_c() -> None:
    """SIGTERM cleans up as Ctrl-C does."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)


def explain(error: Exception) -> str:
    """One line for a person; a full disk is named as such."""
    return FULL_DISK if isinstance(error, OSError) and error.errno == errno.ENOSPC else str(error)
