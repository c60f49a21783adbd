"""`surge down`: destroy a stack, and prove that nothing is left of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from surge.cli.abandoned import end_abandoned
from surge.cli.arguments import StackName
from surge.cli.console import Refusal, errors, out
from surge.cli.held import shard_stacks
from surge.cli.host_processes import strangers
from surge.cli.locks import clear_stale
from surge.cli.operation import INTERRUPTED, session
from surge.cli.preflight import stranger_problems
from surge.cli.stacks import (
    PROJECT,
    checkout,
    cluster_directory,
    own_backend,
    read_settings,
    require_stack,
    state_directory,
    state_file,
)
from surge.cli.teardown import forget, leftovers, remove_empty, sweep
from surge.model import Settings

__all__ = ["register"]

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; a local stack is never asked about.")]


def register(app: typer.Typer) -> None:
    app.command()(down)


def down(stack: StackName = "local", yes: Yes = False) -> None:
    """Destroy a stack and everything on it, and check that nothing is left.

    A local stack goes whatever its state: killed processes, a damaged state file, an update that
    was killed half-way, with or without its engine. What the engine cannot remove is swept by the
    marker its processes carry. Who else works in its folder, such as your own shell, has to leave first.
    """
    root = checkout()
    require_stack(root, stack)
    settings = read_settings(root, stack)
    if settings.stack_kind == "local":
        _local(root, stack, settings)
        return
    shards = shard_stacks(root, stack)
    if own_backend(root) and not shards and not state_file(root, stack).exists():
        raise Refusal(f"stack {stack} has never been up: there is nothing to destroy.", code=0)
    if not yes:
        _confirm(stack, typer.prompt)
    for shard in shards:
        _destroy(root, shard, fleet=stack)
    _destroy(root, stack)
    out.print(f"stack {stack} is destroyed")


def _local(root: Path, stack: str, settings: Settings) -> None:
    cluster = settings.cluster.name
    _refuse_strangers(root, stack, cluster)
    for name in (stack, *shard_stacks(root, stack)):
        end_abandoned(root, name, lambda line: errors.print(escape(line)))
    clear_stale(state_directory(root), PROJECT, stack)
    own = own_backend(root)
    if not own:
        for shard in shard_stacks(root, stack):
            _destroy(root, shard, fleet=stack)
    if state_file(root, stack).exists() or not own:
        try:
            _destroy(root, stack)
        except Refusal as refusal:
            if refusal.code == INTERRUPTED:
                raise
            _say_sweeping(refusal.lines[0])
        except OSError as error:
            # A full disk keeps the engine from starting, and nothing from being deleted.
            _say_sweeping(str(error))
    # The cluster went with all that was on it, and nothing is left of what its shards recorded.
    stacks = [stack, *shard_stacks(root, stack)]
    for line in [*sweep(root, cluster), *(line for name in stacks for line in forget(root, name))]:
        errors.print(escape(line))
    gone = own and remove_empty(root)
    left = leftovers(root, cluster, settings.ports)
    if left:
        raise Refusal(*left, f"Not everything is gone. Look at it, then again: surge down {stack}")
    files = "no file but the tool cache .tools/ and the" if gone else "no file of it but"
    out.print(
        f"stack {stack} is down: no process, no port of {settings.cluster.base_port} to "
        f"{settings.cluster.base_port + 39} and {files} reports in build/"
    )


def _refuse_strangers(root: Path, stack: str, cluster: str) -> None:
    """Raises Refusal rather than delete the cluster's directory under somebody's feet."""
    problems = stranger_problems(strangers(cluster_directory(root, cluster)), root)
    if problems:
        raise Refusal(*problems, f"Nothing has been stopped or deleted. Then again: surge down {stack}")


def _say_sweeping(why: str) -> None:
    errors.print(escape(why))
    errors.print("the engine could not remove everything: sweeping what carries the cluster's marker")


def _destroy(root: Path, stack: str, *, fleet: str | None = None) -> None:
    """fleet: the stack whose shard it is; its settings are the shard's too."""
    name = fleet or stack
    again = "make down" if name == "local" else f"surge down {name}"
    with session(root, stack, f"surge down {stack}", again=again, settings_of=fleet) as work:
        work.perform(work.stack.destroy, show_secrets=False)
        # Without preserve_config the committed settings file would go with the stack.
        work.workspace.remove_stack(stack, preserve_config=True, force=True)


def _confirm(stack: str, ask: Callable[[str], str]) -> None:
    """Raises Refusal unless the stack's name is typed."""
    typed = ask(f"This destroys stack {stack} and everything on it. Type its name to go on")
    if typed != stack:
        raise Refusal(f'"{typed}" is not "{stack}": nothing has been destroyed.')
