"""One operation on all stacks of a fleet: the stack itself, then its shards at once."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from surge.cli.console import errors
from surge.cli.display import Display
from surge.cli.fleet_base import base_digest, is_current, remember
from surge.cli.fleet_display import Board
from surge.cli.fleet_outputs import Outputs
from surge.cli.fleet_plan import FleetState, Part, fleet_state, here, parts, shards_for
from surge.cli.fleet_runs import Run, run_all, turn
from surge.cli.interrupts import Interrupts
from surge.cli.operation import Session, opened, say_interrupted
from surge.cli.revival import dead_processes
from surge.cli.stacks import checkout, read_settings
from surge.model import Catalogue, Filter, Settings, Shard
from surge.model.worker_sets import service_of
from surge.policy.shards import shard_of, shard_stack
from surge.stack_outputs import StackNotRunningError

__all__ = ["FleetJob", "Work"]

Work = Callable[[Session], object]
OPENING, INSIDE = threading.Lock(), threading.Lock()
PROGRAM = "components.shard"


@dataclass(frozen=True, kw_only=True)
class FleetJob:
    """count: shards of the fleet. again: the command that goes on where this one stopped. changes: whether
    it brings the stacks to what the files say, and does not only look."""

    root: Path
    stack: str
    settings: Settings
    catalogue: Catalogue
    state: FleetState
    outputs: Outputs
    count: int
    again: str
    quiet: bool
    changes: bool
    interrupts: Interrupts = field(default_factory=lambda: Interrupts(say_interrupted))

    @classmethod
    def read(cls, stack: str, verb: str, *, quiet: bool) -> Self:
        """Raises ProblemsError for files, Refusal for a fleet that must be moved or finished first."""
        root = checkout()
        settings = read_settings(root, stack)
        outputs = Outputs(root, stack)
        catalogue = Catalogue.read(root / settings.catalogue, settings)
        state = fleet_state(root, stack)
        return cls(
            root=root,
            stack=stack,
            settings=settings,
            catalogue=catalogue,
            state=state,
            outputs=outputs,
            count=shards_for(state, settings, catalogue),
            again=f"surge fleet {verb} {stack}",
            quiet=quiet,
            changes=verb == "up",
        )

    def base(self, work: Work, *, every: bool) -> Run:
        """Do `work` on the fleet's own stack unless it is current, and return how it went."""
        display = Display(errors, f"{self.again}: the stack itself", quiet=self.quiet)
        run = Run(self.stack, len(self._here) if self.count == 1 else 0, display)
        if self.count > 1 and not every and self.base_is_current():
            run.state = "current"
            return run
        # What is on a cluster can be read once it is revived.
        compare = every and not dead_processes(self.root, self.settings)
        turn(run, lambda it: work(self._open(it, {"shards": self.count}, compare=compare)), self.interrupts)
        if run.state == "done" and self.changes:
            remember(self.root, self.stack, self._base_digest)
            self.outputs.ask()
        return run

    def base_is_current(self) -> bool:
        """Whether nothing has changed that the stack itself is made from, and no process of it has died.

        False where that is not known.
        """
        return is_current(self.root, self.stack, self._base_digest) and not dead_processes(
            self.root, self.settings
        )

    def parts(self) -> list[Part]:
        """Return the shards as they are to be. Raises StackNotRunningError without the stack itself."""
        if self.count == 1:
            return []
        return parts(
            self.root,
            self.state,
            settings=self.settings,
            catalogue=self.catalogue,
            facts=self.outputs.facts(),
            shards=self.count,
        )

    def shards(self, work: Work, *, every: bool, parallel: int) -> list[Run]:
        """Do `work` on every shard that is not current, or with `every` on all."""
        try:
            found = {part.stack: part for part in self.parts()}
        except StackNotRunningError:
            return self.not_begun()
        runs = [self._run(part.stack, len(part.filters)) for part in found.values()]
        for run in runs:
            if found[run.stack].current and not every:
                run.state = "current"
        if any(part.only for part in found.values()):
            # It takes seconds, which the engine's first steps take too.
            threading.Thread(target=import_module, args=[PROGRAM], daemon=True).start()
        with Board(errors, f"{self.again}: {len(runs)} shards", runs, quiet=self.quiet) as board:
            run_all(
                runs,
                lambda run: self._work_on(work, run, found[run.stack], every=every),
                parallel=parallel,
                interrupts=self.interrupts,
                tell=board.tell,
            )
        return runs

    def not_begun(self) -> list[Run]:
        """The shards of a fleet whose stack itself is not there."""
        if self.count == 1:
            return []
        counts = Counter(shard_of(service_of(item), self.count) for item in self._here)
        return [self._run(shard_stack(self.stack, index), counts[index]) for index in range(self.count)]

    @cached_property
    def _base_digest(self) -> str:
        return base_digest(self.root, self.settings, self.catalogue, self.count)

    @property
    def _here(self) -> list[Filter]:
        return here(self.settings, self.catalogue)

    def _run(self, stack: str, filters: int) -> Run:
        return Run(stack, filters, Display(errors, stack, quiet=True))

    def _work_on(self, work: Work, run: Run, part: Part, *, every: bool) -> None:
        told = {"shard": dict(part.told)}
        if every or not part.only:
            work(self._open(run, told, compare=True))
            return
        # One at a time: Pulumi's SDKs load modules when they are first used, and a second program in this
        # process would see them half loaded.
        with INSIDE:
            work(self._open(run, told, only=part.only, program=lambda: self._declare(part)))

    def _declare(self, part: Part) -> None:
        """The shard's program for what it may confine itself to."""
        shard = import_module(PROGRAM)
        shard.build_shard(self.settings, self.catalogue, Shard.model_validate(part.told), part.only)

    def _open(self, run: Run, told: dict[str, Any], **options: Any) -> Session:
        # One at a time: the engine notes the selected stack in one file, and makes new ones in one folder.
        with OPENING:
            return opened(
                self.root,
                run.stack,
                self.interrupts,
                run.display,
                again=self.again,
                settings_of=self.stack,
                told=told,
                **options,
            )
