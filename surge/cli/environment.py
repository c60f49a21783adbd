"""`surge env` and `surge version`."""

import platform
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer

from surge.cli.arguments import StackName
from surge.cli.console import Refusal, out
from surge.cli.stacks import checkout, read_settings
from surge.engine import EngineError, engine_environment, shell_exports, stack_environment

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    app.command("env")(environment)
    app.command("version")(show_version)


def environment(stack: StackName = "local") -> None:
    """Print shell exports with which plain `pulumi` works on a stack: eval "$(surge env)"."""
    root = checkout()
    read_settings(root, stack)
    try:
        exports = shell_exports(stack_environment(root, stack, engine_environment(root)))
    except EngineError as error:
        raise Refusal(str(error)) from error
    out.print(exports, markup=False)


def show_version() -> None:
    """Print the versions of surge, the engine's SDK and Python."""
    out.print(f"surge {_own(checkout())}, pulumi {version('pulumi')}, Python {platform.python_version()}")


def _own(root: Path) -> str:
    try:
        return version("surge")
    except PackageNotFoundError:  # run from a checkout
        return tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
