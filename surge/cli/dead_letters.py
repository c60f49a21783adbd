"""`surge dead-letters`: the messages that no worker could finish."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from pika.exceptions import AMQPError
from rich.table import Table

from surge.cli.arguments import Json, StackName
from surge.cli.console import Refusal, errors, out
from surge.cli.stacks import checkout
from surge.cli.status import find
from surge.dead_letters import DeadLetters, Outcome
from surge.policy.topology import VHOST

__all__ = ["register"]

TELL_S = 2.0

group = typer.Typer(no_args_is_help=True, help="The messages that no worker could finish.")


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="dead-letters")


@group.command("list")
def list_letters(stack: StackName = "local", json: Json = False) -> None:
    """Show how many dead letters each filter has, and why they died."""
    with _of(stack) as letters:
        heaps = sorted(letters.count().items())
    if json:
        out.print_json(data=[{**heap._asdict(), "messages": count} for heap, count in heaps])
        return
    table = Table("filter", "reason", "messages", box=None)
    for heap, count in heaps:
        table.add_row(heap.filter, heap.reason, str(count))
    out.print(table if heaps else "no dead letters")
    if heaps:
        out.print("Mend the worker, then send them again: surge dead-letters retry --filter NAME")


Name = Annotated[str | None, typer.Option("--filter", help="Only this filter's.")]


@group.command()
def retry(stack: StackName = "local", name: Name = None) -> None:
    """Send dead letters to their filter's queue again. One may go twice when this is cut off; none is lost.

    Exit code 1: some stay, because their filter's queue is gone or full.
    """
    with _of(stack) as letters:
        outcome = letters.retry(name)
    _told(outcome, "sent again")


@group.command()
def drop(
    name: Annotated[str, typer.Option("--filter", help="This filter's.")],
    stack: StackName = "local",
    *,
    yes: Annotated[bool, typer.Option("--yes", help="They are lost for good.")] = False,
) -> None:
    """Lose a filter's dead letters."""
    if not yes:
        raise Refusal(
            f"the dead letters of {name} would be lost for good. "
            f"Look at them: surge dead-letters list {stack}; lose them: "
            f"surge dead-letters drop {stack} --filter {name} --yes"
        )
    with _of(stack) as letters:
        outcome = letters.drop(name)
    _told(outcome, "dropped")


@contextmanager
def _of(stack: str) -> Iterator[DeadLetters]:
    running = find(checkout(), stack)
    url = f"amqp://admin:{running.access['admin_password']}@{running.endpoints['amqp']}/{VHOST}"
    try:
        yield DeadLetters(url, _progress())
    except AMQPError as error:
        raise Refusal(
            f"the broker of stack {stack} at {running.endpoints['amqp']} does not answer "
            f"({type(error).__name__}); nothing was lost. See what runs: surge status {stack}"
        ) from error
    except KeyboardInterrupt:
        raise Refusal("stopped; what was not sent again is a dead letter still", code=130) from None


def _progress() -> Callable[[int], None]:
    last = time.monotonic()

    def told(number: int) -> None:
        nonlocal last
        if time.monotonic() - last > TELL_S:
            last = time.monotonic()
            errors.print(f"{number} messages looked at", style="dim")

    return told


def _told(outcome: Outcome, what: str) -> None:
    out.print(f"{outcome.done} {what}")
    if outcome.left:
        errors.print(
            f"{outcome.left} stay dead letters: their filter's queue is gone or full. "
            "See which: surge dead-letters list"
        )
        sys.exit(1)
