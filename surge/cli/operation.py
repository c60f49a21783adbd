"""One engine operation on one stack, with progress, interrupts and readable failures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

from pulumi.automation import CommandError, ConcurrentUpdateError, LocalWorkspace, Stack

from surge.cli.abandoned import mark
from surge.cli.console import Refusal, errors
from surge.cli.diagnostics import readable
from surge.cli.display import Display
from surge.cli.engine_run import clear_pending, create_or_select, is_empty, open_workspace, reason
from surge.cli.held import SERVICE
from surge.cli.interrupts import Interrupts
from surge.cli.locks import clear_stale
from surge.cli.progress import Line, totals
from surge.cli.stacks import PROJECT, state_directory
from surge.engine import EngineError, ends_in_seconds, engine_environment, stack_environment

__all__ = ["INTERRUPTED", "Session", "opened", "say_interrupted", "session"]

INTERRUPTED = 130


@dataclass
class Session:
    """A stack that is ours to change: selected, unlocked, nothing left open by a killed update.

    shard: of a fleet, whose services know nothing of each other: one that fails stops no other. options: of
    an update and of its preview, for the engine.
    """

    root: Path
    stack: Stack
    workspace: LocalWorkspace
    interrupts: Interrupts
    display: Display
    new: bool
    again: str
    shard: bool
    options: Mapping[str, Any]

    def perform(self, call: Callable[..., Any], **options: Any) -> Any:
        """Return what `call` (such as stack.up) returns; progress goes to the display.

        Raises Refusal with exit code 130 after an interrupt, 1 after a failure.
        """
        try:
            result = call(on_event=self.display.on_event, color="never", **options)
        except CommandError as error:
            if self.interrupts.count:
                raise self._interrupted() from error
            raise self._failed(error) from error
        if self.interrupts.count:
            raise self._interrupted()
        self.display.show(Line("total", totals(self.display.steps.changes, self.display.elapsed_s)))
        return result

    def up(self) -> None:
        """Update the stack; one that is refused before its first resource leaves nothing. Raises Refusal."""
        try:
            self.perform(self.stack.up, show_secrets=False, continue_on_error=self.shard, **self.options)
        except Refusal:
            self.remove_if_empty()
            raise

    def remove_if_empty(self) -> None:
        """A stack that this command made, and that was refused before its first resource, goes again."""
        if self.new and not self.interrupts.count and is_empty(self.root, self.stack.name):
            self.workspace.remove_stack(self.stack.name, force=True, preserve_config=True)

    def _interrupted(self) -> Refusal:
        return Refusal(
            f"interrupted after {self.display.elapsed_s:.0f} s: all that was done is recorded",
            f"Go on where it stopped: {self.again}",
            code=INTERRUPTED,
        )

    def _failed(self, error: CommandError) -> Refusal:
        if isinstance(error, ConcurrentUpdateError):
            return Refusal(
                f"another update holds stack {self.stack.name}: two at once would damage its state.",
                f"Wait for it, then: {self.again}",
            )
        problems = self.display.steps.problems
        if problems:
            count = "one error" if len(problems) == 1 else f"{len(problems)} errors"
            return Refusal(
                f"stopped by the {count} above after {self.display.elapsed_s:.0f} s. Then: {self.again}"
            )
        return Refusal(
            readable(reason(error)) or "the engine failed and gave no reason", f"Then: {self.again}"
        )


@contextmanager
def session(
    root: Path,
    name: str,
    title: str,
    *,
    again: str,
    quiet: bool = False,
    settings_of: str | None = None,
    told: Mapping[str, Any] | None = None,
) -> Iterator[Session]:
    """Open stack `name` for one operation; creates it when it is new.

    again: the command that goes on after an interrupt or a failure. settings_of, told: as for
    `stack_environment`.
    """
    interrupts = Interrupts(say_interrupted)
    with interrupts.taken(), Display(errors, title, quiet=quiet) as display:
        yield opened(root, name, interrupts, display, again=again, settings_of=settings_of, told=told)


def opened(
    root: Path,
    name: str,
    interrupts: Interrupts,
    display: Display,
    *,
    again: str,
    settings_of: str | None = None,
    told: Mapping[str, Any] | None = None,
    only: Sequence[str] = (),
    program: Callable[[], None] | None = None,
    compare: bool = False,
) -> Session:
    """Return stack `name` as ours to change, or raise Refusal; from any thread.

    only: services of a shard, the engine looks at nothing else and deletes nothing else. program: declares
    these alone, in this process, which has loaded what it needs: a process of its own would take longer to
    start than to work. compare: look at the cluster before each operation, and not only at what is recorded
    of it.
    """
    shard = settings_of not in {None, name}
    removed = clear_stale(state_directory(root), PROJECT, name)
    try:
        engine = engine_environment(root)
        environment = stack_environment(root, name, engine, settings_of=settings_of, told=told)
        environment |= mark(root, name)
        if only:
            environment = ends_in_seconds(environment)
        workspace = open_workspace(root, environment, interrupts, shard=shard)
        stack, new = create_or_select(root, name, workspace)
        pending = clear_pending(root, name, workspace)
    except EngineError as error:
        raise Refusal(str(error)) from error
    except (CommandError, CalledProcessError) as error:
        raise Refusal(
            f"stack {name} cannot be opened: {readable(reason(error)) or 'the engine gave no reason'}",
            f"Then: {again}; to give the stack up, whatever its state: surge down {settings_of or name}",
            code=INTERRUPTED if interrupts.count else 1,
        ) from error
    for line in removed:
        display.say(line)
    if pending:
        display.say(f"an update was killed half-way: took over its {pending} open steps")
    return Session(
        root,
        stack,
        workspace,
        interrupts,
        display,
        new,
        again,
        shard=shard,
        options=_options(only, program, compare=compare),
    )


def _options(only: Sequence[str], program: Callable[[], None] | None, *, compare: bool) -> dict[str, Any]:
    options = {"target": [_target(service) for service in only], "program": program, "refresh": compare}
    return {name: value for name, value in options.items() if value}


def _target(service: str) -> str:
    """A service and all its objects, which bear its name."""
    return f"**::{SERVICE}**::{service}"


def say_interrupted(count: int) -> None:
    if count == 1:
        errors.print("interrupted: letting the steps that run come to their end (again to drop them)")
    else:
        errors.print("interrupted again: dropping them")
