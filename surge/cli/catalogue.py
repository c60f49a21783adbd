"""`surge check` and `surge filter ...`: settings and catalogue, read and judged without a stack."""

from typing import Annotated

import typer

from surge.cli.arguments import Json, StackName
from surge.cli.console import Refusal, out
from surge.cli.stacks import checkout, read_settings, stack_names
from surge.cli.tables import CATALOGUE_COLUMNS, catalogue_rows, plain, table
from surge.model import Catalogue, Filter, ProblemsError
from surge.model.problems import did_you_mean

__all__ = ["register"]

filters = typer.Typer(no_args_is_help=True, help="Look at the catalogue filters.yaml.")


def register(app: typer.Typer) -> None:
    app.command("check")(check)
    app.add_typer(filters, name="filter")


def check(
    stack: Annotated[str, typer.Argument(help="One stack only; all without it.", metavar="STACK")] = "",
) -> None:
    """Validate settings and catalogue: every problem at once, one line each; exit code 1 if any."""
    root = checkout()
    problems: list[str] = []
    names = [stack] if stack else stack_names(root)
    count = 0
    for name in names:
        try:
            settings = read_settings(root, name)
        except ProblemsError as error:
            problems += [f"Pulumi.{name}.yaml: {line}" for line in error.problems]
            continue
        try:
            count = len(Catalogue.read(root / settings.catalogue, settings).filters)
        except ProblemsError as error:
            problems += [line for line in error.problems if line not in problems]
    if problems:
        raise ProblemsError(problems)
    out.print(f"{', '.join(names)}: {count} filters, nothing wrong")


@filters.command("list")
def list_filters(stack: StackName = "local", json: Json = False) -> None:
    """List every filter of the catalogue, with its class, signal and shape. Times are model seconds."""
    found = _catalogue(stack).filters
    if json:
        out.print_json(data={item.name: item.model_dump(by_alias=True, exclude={"name"}) for item in found})
    elif out.is_terminal:
        out.print(table(CATALOGUE_COLUMNS, catalogue_rows(found)))
    else:
        out.print(plain(CATALOGUE_COLUMNS, catalogue_rows(found)))


@filters.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of the filter: its key in the catalogue.")],
    stack: Annotated[str, typer.Option(help="The stack whose catalogue is read.")] = "local",
    json: Json = False,
) -> None:
    """Show one filter with everything its class has filled in."""
    item = _find(_catalogue(stack), name)
    values = item.model_dump(by_alias=True, exclude_none=True)
    if json:
        out.print_json(data=values)
    else:
        width = max(map(len, values))
        out.print("\n".join(f"{key:<{width}}  {value}" for key, value in values.items()), markup=False)


@filters.command("check")
def check_filters(stack: StackName = "local") -> None:
    """Validate the catalogue against one stack: does it fit its GPUs?"""
    found = _catalogue(stack).filters
    out.print(f"{len(found)} filters, nothing wrong")


def _catalogue(stack: str) -> Catalogue:
    root = checkout()
    settings = read_settings(root, stack)
    return Catalogue.read(root / settings.catalogue, settings)


def _find(catalogue: Catalogue, name: str) -> Filter:
    try:
        return catalogue[name]
    except KeyError:
        names = [item.name for item in catalogue.filters]
        raise Refusal(
            f'there is no filter "{name}"{did_you_mean(name, names)}', "See all: surge filter list"
        ) from None
