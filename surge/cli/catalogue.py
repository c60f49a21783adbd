"""`surge check` and `surge filter ...`: settings and catalogue, read and judged without a stack."""

from typing import Annotated

import typer

from surge.cli.arguments import Json, StackName
from surge.cli.catalogue_versions import catalogue_at
from surge.cli.console import Refusal, out
from surge.cli.filter_add import add_filter, read_keys
from surge.cli.stacks import checkout, read_settings, stack_names
from surge.cli.tables import (
    CATALOGUE_COLUMNS,
    POOL_COLUMNS,
    catalogue_rows,
    plain,
    pool_rows,
    shown_value,
    table,
)
from surge.model import Catalogue, Filter, ProblemsError, Settings
from surge.model.entry import CLASSES
from surge.model.footprint import footprint, packings
from surge.model.problems import did_you_mean

__all__ = ["register"]

filters = typer.Typer(
    no_args_is_help=True, help="The catalogue: look at it, add to it, see what a change does."
)


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
    found = _read(stack)[1].filters
    if json:
        out.print_json(
            data={item.name: item.model_dump(mode="json", by_alias=True, exclude={"name"}) for item in found}
        )
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
    """Show one filter with all that its class and overrides fill in, and where each value comes from."""
    catalogue = _read(stack)[1]
    values = _find(catalogue, name).model_dump(mode="json", by_alias=True, exclude_none=True)
    if json:
        out.print_json(data=values)
        return
    sources = catalogue.sources.get(name, {})
    rows = [(key, sources.get(key, "built in"), shown_value(value)) for key, value in values.items()]
    out.print(plain(("key", "from", "value"), rows), markup=False)


@filters.command("check")
def check_filters(stack: StackName = "local") -> None:
    """Validate the catalogue against one stack: does it fit its GPUs, and how many does it take?

    Of each pool whose nodes are known: the cards that are used when all filters are at min, and at max, and
    the memory that is then free on cards where no filter finds room.
    """
    settings, catalogue = _read(stack)
    takes = footprint(catalogue.filters, settings)
    out.print(
        f"{len(catalogue.filters)} filters, nothing wrong: on {stack} {takes.least:g} GPUs at min, "
        f"{takes.most:g} at max"
    )
    if rows := pool_rows(packings(catalogue.filters, settings)):
        out.print(table(POOL_COLUMNS, rows) if out.is_terminal else plain(POOL_COLUMNS, rows))


@filters.command()
def add(  # noqa: PLR0917 -- typer hands over by name
    name: Annotated[str, typer.Argument(help="Name of the new filter.")],
    source: Annotated[str, typer.Option("--from", help="Start from a copy of this filter's entry.")] = "",
    image: Annotated[str, typer.Option(help="registry/name@sha256:<64 hex digits>.")] = "",
    kind: Annotated[str, typer.Option("--class", help=f"One of {', '.join(CLASSES)}.")] = "",
    owner: Annotated[str, typer.Option(help="Who to ask.")] = "",
    keys: Annotated[
        list[str],
        typer.Option("--set", help="KEY=VALUE: any key of an entry, its value as YAML; repeatable."),
    ] = [],  # noqa: B006 -- typer's way to say none
    stack: Annotated[
        str, typer.Option(help="The stack whose catalogue it is, and that it must fit.")
    ] = "local",
) -> None:
    """Add one entry to the catalogue, if the whole is valid with it; comments and order stay as they are.

    In a folder of files the entry gets a file of its own.
    """
    root = checkout()
    settings = read_settings(root, stack)
    flags = {"image": image, "class": kind, "owner": owner}
    wanted = {key: value for key, value in flags.items() if value} | read_keys(keys)
    file, _ = add_filter(root / settings.catalogue, settings, name, wanted, source or None)
    out.print(f"{file.relative_to(root)}: {name} added. What it changes: surge filter diff {stack}")


@filters.command()
def diff(
    stack: StackName = "local",
    against: Annotated[
        str, typer.Option(help="A commit, or a file or folder: the catalogue before.")
    ] = "HEAD",
    json: Json = False,
) -> None:
    """Show what the catalogue changes: filters, the objects each adds or changes, GPUs, money per hour."""
    # The program and its SDK take a second to load, and no other command of this file needs them.
    from surge.cli import filter_diff, filter_diff_view  # noqa: PLC0415

    root = checkout()
    settings, new = _read(stack)
    found = filter_diff.compare(catalogue_at(root, settings.catalogue, against), new, settings)
    if json:
        out.print_json(data={"against": against, **filter_diff_view.as_json(found)})
        return
    if not found.filters:
        out.print(f"no filter differs from {against}")
        return
    columns, rows = filter_diff_view.columns(settings), filter_diff_view.rows(found, settings)
    out.print(table(columns, rows) if out.is_terminal else plain(columns, rows))
    lines = ["", *filter_diff_view.object_lines(found), "", *filter_diff_view.total(found, settings, stack)]
    out.print("\n".join(lines), markup=False)


def _read(stack: str) -> tuple[Settings, Catalogue]:
    root = checkout()
    settings = read_settings(root, stack)
    return settings, Catalogue.read(root / settings.catalogue, settings)


def _find(catalogue: Catalogue, name: str) -> Filter:
    try:
        return catalogue[name]
    except KeyError:
        names = [item.name for item in catalogue.filters]
        raise Refusal(
            f'there is no filter "{name}"{did_you_mean(name, names)}', "See all: surge filter list"
        ) from None
