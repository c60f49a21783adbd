"""`surge up`, `surge preview`, `surge refresh`: the engine's operations with readable progress."""

from typing import Annotated

import typer
from rich.markup import escape

from providers.surge.folders import write
from surge.cli.arguments import Json, StackName
from surge.cli.console import Refusal, errors, out
from surge.cli.fleet_plan import refuse_if_sharded
from surge.cli.loop import Closing, wait_closed
from surge.cli.operation import INTERRUPTED, session
from surge.cli.preflight import refuse_unless_possible
from surge.cli.reading import Reader
from surge.cli.report import as_text, up_json
from surge.cli.revival import show_dead
from surge.cli.stacks import checkout, kubeconfig_file, read_settings
from surge.stack_outputs import running_stack

__all__ = ["register"]

NoChanges = Annotated[
    bool, typer.Option("--expect-no-changes", help="Exit with 1 when anything would change, or has changed.")
]


def register(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(preview)
    app.command()(refresh)


def up(stack: StackName = "local", json: Json = False) -> None:
    """Build or update a stack, and wait until its loop is closed.

    Closed means: every filter has its minimum of workers Ready, its saturation is served, and its
    HPA reads it. Ctrl-C ends cleanly after the steps that run; the same command goes on from there.
    Processes of a local stack that died, as after a reboot, are started again.
    """
    root = checkout()
    settings = read_settings(root, stack)
    refuse_if_sharded(root, stack, settings, "up")
    if settings.stack_kind == "local":
        refuse_unless_possible(root, settings)
    with session(
        root, stack, f"surge up {stack}", again=_again(stack), quiet=json, told={"shards": 1}
    ) as work:
        show_dead(work, settings)
        work.up()
        if settings.stack_kind != "local":
            return
        running = running_stack(root, stack)
        write(kubeconfig_file(root, stack), running.kubeconfig)
        with Reader(running) as reader:
            closing = wait_closed(
                reader.read, work.display.say, interrupted=lambda: work.interrupts.count > 0
            )
        if work.interrupts.count:
            raise Refusal(
                "interrupted while waiting; the stack is up and closes its loop by itself.",
                "See: surge status",
                code=INTERRUPTED,
            )
    if json:
        out.print_json(data=up_json(running, closing))
    else:
        out.print(as_text(running, closing, kubeconfig_file(root, stack)), markup=False)
    _refuse_unless_closed(closing, stack)


def preview(stack: StackName = "local", expect_no_changes: NoChanges = False) -> None:
    """Show what `surge up` would do, without doing it."""
    root = checkout()
    refuse_if_sharded(root, stack, read_settings(root, stack), "preview")
    again = f"surge preview {stack}"
    with session(root, stack, again, again=again, told={"shards": 1}) as work:
        try:
            work.perform(work.stack.preview, expect_no_changes=expect_no_changes)
        finally:
            work.remove_if_empty()


def refresh(stack: StackName = "local", expect_no_changes: NoChanges = False) -> None:
    """Compare the recorded state with what is there, and record what has changed outside.

    A process that died is found here, and by `surge up`, which starts it again.
    """
    root = checkout()
    refuse_if_sharded(root, stack, read_settings(root, stack), "up --all")
    with session(root, stack, f"surge refresh {stack}", again=f"surge refresh {stack}") as work:
        try:
            work.perform(work.stack.refresh, show_secrets=False, expect_no_changes=expect_no_changes)
        finally:
            work.remove_if_empty()


def _refuse_unless_closed(closing: Closing, stack: str) -> None:
    if not closing.closed:
        listed = [escape(end) for end in closing.ends]
        errors.print(f"the loop is not closed after {closing.took_s:.0f} s:")
        raise Refusal(
            *listed, f"It may only need longer: surge watch {stack}; logs lie in the cluster's directory."
        )


def _again(stack: str) -> str:
    return "make up" if stack == "local" else f"surge up {stack}"
