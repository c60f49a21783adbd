"""`python -m surge.cli.reference` prints docs/cli.md: every command, from its own help text."""

from collections.abc import Iterator
from typing import Any

import typer

__all__ = ["reference"]

HEAD = """# The surge command

<!-- Generated: python -m surge.cli.reference > docs/cli.md -->

`bin/surge` runs it from any folder, in the project's virtual environment. Results go to stdout, progress
and errors to stderr. Exit codes: 0 done, 1 failed or refused, 2 not running (`status`, `watch`) or wrong
usage, 130 interrupted.
"""


def reference() -> str:
    """Return the reference as Markdown."""
    from surge.cli.app import app  # noqa: PLC0415 -- the app needs no reference

    context = typer.Context(typer.main.get_command(app), info_name="surge")
    return "\n".join([HEAD, *_group(context)]).rstrip() + "\n"


def _group(context: Any) -> Iterator[str]:
    for name in context.command.list_commands(context):
        command = context.command.get_command(context, name)
        inner = type(context)(command, info_name=name, parent=context)
        if hasattr(command, "list_commands"):
            yield from _group(inner)
        else:
            yield from _command(inner)


def _command(context: Any) -> Iterator[str]:
    pieces = [context.command_path, *context.command.collect_usage_pieces(context)]
    yield f"## {context.command_path}\n"
    yield f"```\n{' '.join(pieces)}\n```\n"
    yield f"{_paragraphs(context.command.help or '')}\n"
    rows = [(_names(param), _about(param)) for param in context.command.params if param.name != "help"]
    if rows:
        yield "| argument or option | meaning |\n|---|---|"
        yield "\n".join(f"| `{names}` | {about} |" for names, about in rows) + "\n"


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _names(param: Any) -> str:
    return ", ".join(param.opts) if param.param_type_name == "option" else param.metavar or param.name.upper()


def _about(param: Any) -> str:
    text = (getattr(param, "help", "") or "").replace("|", "\\|")
    default = param.default
    shown = isinstance(default, str) and default != ""
    return f"{text} Default: `{default}`." if shown else text


if __name__ == "__main__":
    print(reference(), end="")
