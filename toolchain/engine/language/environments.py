"""The program's virtual environment: where it is, what it holds, how it is filled."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pulumi.runtime.proto import language_pb2

__all__ = ["VirtualEnvironmentError", "dependencies", "install", "interpreter", "python_version"]

LIST = """
import importlib.metadata as metadata, json, re
name = lambda text: re.split(r"[^A-Za-z0-9._-]", text.strip(), maxsplit=1)[0].lower().replace("_", "-")
found = {name(d.metadata["Name"]): d for d in metadata.distributions() if d.metadata["Name"]}
needed = {name(r) for d in found.values() for r in (d.requires or []) if "extra ==" not in r}
rows = [(n, d.version, n not in needed) for n, d in sorted(found.items())]
print(json.dumps(rows))
"""


class VirtualEnvironmentError(Exception):
    """The virtual environment cannot be used; says what was seen and what to do."""


def interpreter(info: language_pb2.ProgramInfo) -> Path:
    """The program's Python. Raises VirtualEnvironmentError when the virtual environment has none."""
    python = _directory(info) / "bin" / "python"
    if not os.access(python, os.X_OK):
        raise VirtualEnvironmentError(
            f"the virtual environment {python.parent.parent} has no bin/python: the program cannot run "
            "without it. Create it: make tools (or everything: make up)"
        )
    return python


def python_version(python: Path) -> str:
    """Such as 3.11.2."""
    code = "import platform; print(platform.python_version())"
    return _output([str(python), "-c", code]).strip()


def dependencies(python: Path, *, transitive: bool) -> list[tuple[str, str]]:
    """Names and versions of what is installed; without `transitive`, what nothing else needs."""
    rows = json.loads(_output([str(python), "-c", LIST]))
    return [(name, version) for name, version, direct in rows if direct or transitive]


def install(directory: Path, info: language_pb2.ProgramInfo) -> Iterator[bytes]:
    """Create the virtual environment when there is none, install requirements.txt or the project
    into it, and yield what the tools print. Raises VirtualEnvironmentError when one fails."""
    target = _directory(info)
    python = target / "bin" / "python"
    if not python.exists():
        yield from _run([sys.executable, "-m", "venv", str(target)], directory)
    if (directory / "requirements.txt").exists():
        yield from _run([str(python), "-m", "pip", "install", "-r", "requirements.txt"], directory)
    elif (directory / "pyproject.toml").exists():
        yield from _run([str(python), "-m", "pip", "install", "-e", "."], directory)


def _directory(info: language_pb2.ProgramInfo) -> Path:
    option = info.options.fields.get("virtualenv")
    if option is None or not option.string_value:
        return Path(sys.prefix)
    return Path(info.root_directory) / option.string_value


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise VirtualEnvironmentError(
            f"{command[0]} does not work ({error}). Build it again: make tools"
        ) from error


def _run(command: list[str], directory: Path) -> Iterator[bytes]:
    with subprocess.Popen(
        command, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        output: IO[bytes] | None = process.stdout
        yield from output or ()
        code = process.wait()
    if code:
        raise VirtualEnvironmentError(f"{' '.join(command)} ended with {code}: its messages are above")
