"""`surge status` and `surge watch`: a running stack, once or live."""

import time
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from surge.cli.arguments import Json, StackName
from surge.cli.console import Refusal, out
from surge.cli.reading import Reader
from surge.cli.stacks import checkout, own_backend, read_settings, state_file
from surge.cli.state import NOT_RUNNING, Snapshot, health, open_ends
from surge.cli.tables import FILTER_COLUMNS, PROCESS_COLUMNS, as_json, filter_rows, plain, process_rows, table
from surge.engine import EngineError
from surge.stack_outputs import RunningStack, StackNotRunningError, running_stack

__all__ = ["register"]

MOST_ENDS = 8


def register(app: typer.Typer) -> None:
    app.command()(status)
    app.command()(watch)


def status(stack: StackName = "local", json: Json = False) -> None:
    """Show filters and processes of a running stack.

    Exit code 0: the loop is closed; 1: something is amiss, said below the tables; 2: not running.
    """
    running = find(checkout(), stack)
    with Reader(running) as reader:
        snapshot = reader.read()
    if json:
        out.print_json(data={"stack": stack, **as_json(snapshot)})
    elif out.is_terminal:
        out.print(_drawn(snapshot))
    else:
        out.print(_lines(snapshot))
    raise typer.Exit(health(snapshot))


def watch(stack: StackName = "local") -> None:
    """Show a running stack live, a reading a second, until Ctrl-C."""
    running = find(checkout(), stack)
    with Reader(running) as reader:
        try:
            _watch_live(reader) if out.is_terminal else _watch_plain(reader)
        except KeyboardInterrupt:
            return


def find(root: Path, name: str) -> RunningStack:
    """Return the stack; raises Refusal with exit code 2 when it is not up."""
    read_settings(root, name)
    if own_backend(root) and not state_file(root, name).exists():
        raise Refusal(f"stack {name} is not running. Start it: surge up {name}", code=NOT_RUNNING)
    try:
        return running_stack(root, name)
    except (StackNotRunningError, EngineError) as error:
        raise Refusal(str(error), code=NOT_RUNNING) from error


def _watch_live(reader: Reader) -> None:
    with Live(_drawn(reader.read()), auto_refresh=False, screen=False) as live:
        while True:
            time.sleep(1.0)
            live.update(_drawn(reader.read()), refresh=True)


def _watch_plain(reader: Reader) -> None:
    while True:
        snapshot = reader.read()
        out.print(time.strftime("%H:%M:%S"))
        out.print(_lines(snapshot, processes=False))
        time.sleep(1.0)


def _drawn(snapshot: Snapshot) -> Group:
    return Group(
        table(FILTER_COLUMNS, filter_rows(snapshot.filters)),
        "",
        table(PROCESS_COLUMNS, process_rows(snapshot.processes)),
        *(Text(end, style="red") for end in _shortened(open_ends(snapshot))),
    )


def _lines(snapshot: Snapshot, *, processes: bool = True) -> str:
    parts = [plain(FILTER_COLUMNS, filter_rows(snapshot.filters))]
    if processes:
        parts.append(plain(PROCESS_COLUMNS, process_rows(snapshot.processes)))
    parts += _shortened(open_ends(snapshot))
    return "\n".join(parts)


def _shortened(ends: Sequence[str]) -> list[str]:
    rest = len(ends) - MOST_ENDS
    return [*ends[:MOST_ENDS], *([f"... and {rest} more; all of them: --json"] if rest > 0 else [])]
