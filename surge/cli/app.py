"""The command line: groups, options, exit codes."""

from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from surge.cli import catalogue, dead_letters, down, environment, fleet, status, updates, worker_check
from surge.cli.console import Refusal, errors
from surge.model import ProblemsError

__all__ = ["app"]


class Commands(TyperGroup):
    """Turns refusals and problems in files into plain lines on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Refusal as refusal:
            for line in refusal.lines:
                errors.print(escape(line))
            raise typer.Exit(refusal.code) from refusal
        except ProblemsError as wrong:
            for line in wrong.problems:
                errors.print(escape(line))
            errors.print(f"{len(wrong.problems)} to mend; look again with: surge check")
            raise typer.Exit(1) from wrong


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="GPU filter fleets on Kubernetes that scale on how busy their workers are.",
    epilog="A stack is a file Pulumi.<name>.yaml. Exit codes: 0 done, 1 failed or refused, 130 interrupted.",
)
updates.register(app)
down.register(app)
status.register(app)
catalogue.register(app)
fleet.register(app)
environment.register(app)
worker_check.register(app)
dead_letters.register(app)
