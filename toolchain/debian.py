"""Debian's packages: what is missing is installed, no service is started, nothing is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from toolchain.running import alone, running

__all__ = ["PACKAGES", "PackagesError", "missing_packages", "ready_packages"]

PACKAGES = {"rabbitmq-server": "/usr/lib/rabbitmq/bin/rabbitmq-server", "prometheus": "/usr/bin/prometheus"}
DEBIAN = Path("/etc/debian_version")
LISTS = Path("/var/lib/apt/lists")
LISTS_LAST_S = 24 * 3600
POLICY = Path("/usr/sbin/policy-rc.d")
NO_STARTS = b"#!/bin/sh\n# surge installs packages: no service starts meanwhile\nexit 101\n"


class PackagesError(Exception):
    """Packages are missing and stay so; the text ends with the command to run."""


def missing_packages(*, programs: bool = True) -> list[str]:
    """Debian packages that are not installed: those of `programs`, and what makes a virtual environment."""
    missing = [name for name, program in PACKAGES.items() if programs and not Path(program).exists()]
    probe = [sys.executable, "-c", "import ensurepip"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        missing.append("python3-venv")
    return missing


def ready_packages(*, programs: bool = True) -> None:
    """Install what is missing on Debian as root; otherwise say the command and change nothing.

    programs: also those that the stack runs; without them only what makes a virtual environment.
    """
    missing = missing_packages(programs=programs)
    if not missing:
        return
    install = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    seen, command = f"missing: {', '.join(missing)}.", " ".join(install)
    if not DEBIAN.exists():
        where = ", ".join(PACKAGES[name] for name in missing if name in PACKAGES)
        raise PackagesError(
            f"{seen} This is not Debian, so they cannot be installed for you: install them with your own "
            f"package manager (looked for: {where or 'the Python module ensurepip'}). On Debian: {command}"
        )
    if os.geteuid() != 0:
        raise PackagesError(f"{seen} Installing them takes root, run: sudo {command}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if not _lists_are_fresh():
        _run(["apt-get", "update", "-q"], environment)
    _run([*install, "--download-only"], environment)
    with _no_service_starts(), _no_port_mapper_left():
        _run(install, environment, whole=True)


def _lists_are_fresh() -> bool:
    # A list keeps its server's date; what tells when apt last fetched is the folder it fetches into.
    fetched = LISTS / "partial"
    if not fetched.is_dir() or not any(LISTS.glob("*Packages*")):
        return False
    return time.time() - max(fetched.stat().st_mtime, LISTS.stat().st_mtime) < LISTS_LAST_S


@contextmanager
def _no_service_starts() -> Iterator[None]:
    with alone(POLICY.parent, "Debian packages"):
        before = POLICY.read_bytes() if POLICY.exists() else None
        if before == NO_STARTS:  # a killed run left it
            before = None
        mode = POLICY.stat().st_mode if before is not None else 0o755
        try:
            POLICY.write_bytes(NO_STARTS)
            POLICY.chmod(0o755)
            yield
        finally:
            if before is None:
                POLICY.unlink(missing_ok=True)
            else:
                POLICY.write_bytes(before)
                POLICY.chmod(mode)


@contextmanager
def _no_port_mapper_left() -> Iterator[None]:
    """RabbitMQ's package leaves Erlang's port mapper listening on every address: end that one alone."""
    before = _port_mappers()
    try:
        yield
    finally:
        for process in _port_mappers() - before:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)


def _port_mappers() -> set[int]:
    """Process ids of every epmd that runs as a daemon; one in the foreground has an owner."""
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):  # it ended meanwhile
            if not entry.name.isdigit() or (entry / "comm").read_text().strip() != "epmd":
                continue
            if b"-daemon" in (entry / "cmdline").read_bytes().split(b"\0"):
                found.add(int(entry.name))
    return found


def _run(command: list[str], environment: dict[str, str], *, whole: bool = False) -> None:
    with running(command, environment=environment, whole=whole) as process:
        process.wait()
    if process.returncode:
        raise PackagesError(
            f"this failed (its output is above): {' '.join(command)}\n"
            "Try: apt-get update && dpkg --configure -a, then the same command again"
        )
