"""The command line: groups, options, exit codes."""

from collections.abc import Iterable
from importlib import import_module
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from surge.cli.console import Refusal, errors
from surge.engine import EngineError
from surge.model import ProblemsError
from surge.stack_outputs import StackNotRunningError

__all__ = ["app"]


# Each module of this folder and its commands. A module is imported when one of them is asked for: to import
# all costs each command a second.
MODULES = {
    "updates": ("up", "preview", "refresh"),
    "down": ("down",),
    "status": ("status", "watch"),
    "catalogue": ("check", "filter"),
    "fleet": ("fleet",),
    "environment": ("env", "version"),
    "worker_check": ("worker",),
    "dead_letters": ("dead-letters",),
}


class Commands(TyperGroup):
    """Turns refusals, problems in files and what the system refuses into plain lines and an exit code."""

    def list_commands(self, ctx: Any) -> list[str]:
        for module in MODULES:
            self._load(module)
        return [name for names in MODULES.values() for name in names]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        module = next((module for module, names in MODULES.items() if cmd_name in names), None)
        if module is None:
            self.list_commands(ctx)  # an unknown name is compared with all
        else:
            self._load(module)
        return super().get_command(ctx, cmd_name)

    def _load(self, module: str) -> None:
        if MODULES[module][0] not in self.commands:
            part = typer.Typer()
            import_module(f"surge.cli.{module}").register(part)
            self.commands.update(typer.main.get_group(part).commands)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Refusal as refusal:
            raise _told(refusal.lines, refusal.code) from refusal
        except ProblemsError as wrong:
            count = f"{len(wrong.problems)} to mend; look again with: surge check"
            raise _told([*wrong.problems, count]) from wrong
        except (EngineError, StackNotRunningError) as error:
            raise _told([str(error)]) from error
        except BrokenPipeError:
            raise  # who reads our output has had enough
        except OSError as error:
            raise _told([_of_the_system(error)]) from error


def _told(lines: Iterable[str], code: int = 1) -> typer.Exit:
    for line in lines:
        errors.print(escape(line))
    return typer.Exit(code)


def _of_the_system(error: OSError) -> str:
    """What a full disk, a missing permission or a file in the way is told as."""
    if error.filename is None:
        return f"{error.strerror or error}. Look at `df -h`, then run the same command again"
    return (
        f"{error.filename}: {error.strerror}. "
        f"Look at `ls -ld {error.filename}` and `df -h`, then run the same command again"
    )


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="GPU filter fleets on Kubernetes that scale on how busy their workers are.",
    epilog="A stack is a file Pulumi.<name>.yaml. Exit codes: 0 done, 1 failed or refused, 130 interrupted.",
)


@app.callback()
def _surge() -> None: ...
