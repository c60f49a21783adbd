"""A second checkout of this project for tests, with its own stacks, ports and state.

It shares the tool cache; everything else is copied, so what a test edits is its own.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

__all__ = ["Checkout", "copied_checkout", "kill_with_all_it_started", "scratch_checkout"]

Done = subprocess.CompletedProcess[str]

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("*.py", "*.yaml", "pyproject.toml", "requirements.txt", "requirements-dev.txt", "Makefile")
LINKED = (".tools",)
SOURCES = (
    "alerts",
    "bin",
    "components",
    "lab",
    "metrics_server",
    "providers",
    "scale_in",
    "surge",
    "toolchain",
    "verifier",
    "worker",
)


@dataclass(frozen=True)
class Checkout:
    """root: its folder. environment: of the commands run in it."""

    root: Path
    environment: dict[str, str]

    def surge(self, *arguments: str, check: bool = True, timeout_s: float = 420) -> Done:
        """Run the surge command. Raises AssertionError with its output when it fails and `check` is set."""
        return self._run([str(self.root / "bin" / "surge"), *arguments], check, timeout_s)

    def make(self, target: str, *, check: bool = True, timeout_s: float = 420) -> Done:
        """Run `make TARGET`, as a user does. `up` builds into the shared tool cache what that lacks."""
        return self._run(["make", "--no-print-directory", target], check, timeout_s)

    def module(self, *arguments: str, check: bool = True, timeout_s: float = 900) -> Done:
        """Run `python -m ...` in it."""
        python = str(self.root / ".tools" / "venv" / "bin" / "python")
        return self._run([python, "-m", *arguments], check, timeout_s)

    def status(self) -> dict[str, Any]:
        return json.loads(self.surge("status", "--json", check=False).stdout)

    @property
    def cluster(self) -> Path:
        """The directory of its local cluster."""
        [directory] = (self.root / ".surge" / "clusters").iterdir()
        return directory

    def spawn(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start the surge command in a session of its own and return at once."""
        return subprocess.Popen(
            [str(self.root / "bin" / "surge"), *arguments],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _run(self, command: list[str], check: bool, timeout_s: float) -> Done:
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            shown = " ".join(command[1:])
            raise AssertionError(
                f"{shown}: exit {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
            )
        return done


def copied_checkout(folder: Path, *, base_port: int, settings: dict[str, Any] | None = None) -> Checkout:
    """A checkout in `folder`, as `scratch_checkout`; whoever brings a stack up takes it down."""
    for pattern in COPIED:
        for file in ROOT.glob(pattern):
            shutil.copy(file, folder)
    for source in SOURCES:
        shutil.copytree(ROOT / source, folder / source, ignore=shutil.ignore_patterns("__pycache__"))
    for linked in LINKED:
        (folder / linked).symlink_to(ROOT / linked)
    _adjust(folder / "Pulumi.local.yaml", base_port, settings or {})
    return Checkout(folder, _environment())


@contextmanager
def scratch_checkout(
    folder: Path, *, base_port: int, settings: dict[str, Any] | None = None
) -> Iterator[Checkout]:
    """A checkout in `folder` whose stack `local` starts at `base_port`; it is torn down at the end.

    settings: changes to `surge:settings`, merged one level deep.
    """
    checkout = copied_checkout(folder, base_port=base_port, settings=settings)
    try:
        yield checkout
    finally:
        checkout.surge("down", "local", "--yes")


def kill_with_all_it_started(process: "subprocess.Popen[str]") -> None:
    """kill -9 a command and every process below it, parents first."""
    found = [process.pid]
    for pid in found:
        with suppress(FileNotFoundError):
            found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)


def _environment() -> dict[str, str]:
    """The caller's, without what would point the engine at the caller's own stacks."""
    return {key: value for key, value in os.environ.items() if not re.match(r"PULUMI_|SURGE_", key)}


def _adjust(file: Path, base_port: int, settings: dict[str, Any]) -> None:
    document = yaml.load(file.read_text(), yaml.CSafeLoader)
    own = document["config"]["surge:settings"]
    own["cluster"]["base-port"] = base_port
    for key, value in settings.items():
        own[key] = {**own.get(key, {}), **value} if isinstance(value, dict) else value
    file.write_text(yaml.safe_dump(document))
