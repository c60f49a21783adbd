"""Arguments and options that several commands share."""

from typing import Annotated

import typer

__all__ = ["Json", "StackName"]

StackName = Annotated[
    str,
    typer.Argument(metavar="STACK", help="Name of the stack: a file Pulumi.<name>.yaml.", show_default=True),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else.")]
