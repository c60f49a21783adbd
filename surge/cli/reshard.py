"""`surge fleet reshard`: another number of shards, while every workload keeps running.

Only records move: `pulumi state move` takes a filter's service from one stack's state to another's and asks
nothing of the cluster. Where each filter lies is read from the states, so a move that was cut short goes on
from there.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CalledProcessError
from typing import Annotated, Any

import typer
from pulumi.automation import CommandError

from surge.cli.arguments import StackName
from surge.cli.console import Refusal, errors, out
from surge.cli.diagnostics import readable
from surge.cli.display import Display
from surge.cli.engine_run import edit_state, reason
from surge.cli.fleet_plan import FleetState, fleet_state
from surge.cli.interrupts import Interrupts
from surge.cli.operation import INTERRUPTED, Session, opened, say_interrupted
from surge.cli.stacks import checkout, read_settings
from surge.cli.tables import plain
from surge.model.settings import SHARDS
from surge.policy.shards import home_stack, shard_stack

__all__ = ["reshard"]

Shards = Annotated[int, typer.Option("--shards", help="How many there are to be: a power of two, 1 to 64.")]
Preview = Annotated[bool, typer.Option("--preview", help="Show what would move, and move nothing.")]


@dataclass(frozen=True)
class Move:
    """Services that go from one stack to another. urns: as in the source's state."""

    source: str
    dest: str
    urns: Mapping[str, str]


def reshard(shards: Shards, stack: StackName = "local", preview: Preview = False) -> None:
    """Spread a fleet over another number of shards. Workloads keep running: only their records move.

    Interrupted or killed, the same command goes on where it stopped.
    """
    root = checkout()
    settings = read_settings(root, stack)
    if shards not in SHARDS:
        raise Refusal(f"{shards} shards: want one of {', '.join(map(str, SHARDS))}")
    if settings.fleet.shards not in {None, shards}:
        raise Refusal(
            f"fleet.shards is {settings.fleet.shards} in Pulumi.{stack}.yaml: the next update would want it.",
            f"Set it to {shards}, or to auto, which keeps what the fleet has. Then: {_again(stack, shards)}",
        )
    state = fleet_state(root, stack)
    if state.recorded is None:
        raise Refusal(f"stack {stack} is not up: there is nothing to move. Start it: surge fleet up {stack}")
    moves = _moves(state, shards)
    _show(state, moves, shards)
    if not preview:
        _Mover(root, stack, shards).all()
        out.print(
            f"{stack} has {_counted(shards)}. Record what is where now: surge fleet up {stack}", markup=False
        )


def _moves(state: FleetState, shards: int) -> list[Move]:
    held = {state.stack: state.base, **state.shards}
    found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for name, source in state.misplaced(shards).items():
        each = held[source]
        assert each is not None  # noqa: S101 -- it holds the filter
        found[source, home_stack(state.stack, name, shards)][name] = each.services[name]
    return [Move(source, dest, urns) for (source, dest), urns in sorted(found.items())]


def _show(state: FleetState, moves: Sequence[Move], shards: int) -> None:
    held = [state.base, *state.shards.values()]
    total = len({name for each in held if each for name in each.services})
    moving = sum(len(move.urns) for move in moves)
    if moves:
        rows = [(move.source, move.dest, str(len(move.urns))) for move in moves]
        out.print(plain(("from", "to", "services"), rows), markup=False)
    out.print(
        f"{state.stack}: from {_counted(state.recorded or 1)} to {shards}; "
        f"{moving} of {total} services move, and nothing on the cluster changes",
        markup=False,
    )


class _Mover:
    """Does the moves, in an order in which any of them may be the last."""

    def __init__(self, root: Path, stack: str, shards: int) -> None:
        self._root, self._stack, self._shards = root, stack, shards
        self._interrupts = Interrupts(say_interrupted)
        self._display = Display(errors, f"surge fleet reshard {stack}")
        self._opened: dict[str, Session] = {}

    def all(self) -> None:
        with self._interrupts.taken(), self._display:
            try:
                # First of all, so that from now on no update works with the old number.
                self._edit(self._stack, self._record)
                while moves := _moves(state := self._state(), self._shards):
                    for move in moves:
                        self._move(move, state)
                self._remove_empty(state)
            except (CommandError, CalledProcessError) as error:
                raise Refusal(
                    readable(reason(error)) or "the engine failed and gave no reason",
                    f"No workload was touched. Go on where it stopped: {_again(self._stack, self._shards)}",
                    code=INTERRUPTED if self._interrupts.count else 1,
                ) from error

    def _state(self) -> FleetState:
        return fleet_state(self._root, self._stack)

    def _move(self, move: Move, state: FleetState) -> None:
        self._end_if_interrupted()
        dest = state.shards.get(move.dest) if move.dest != self._stack else state.base
        # A killed move has written the destination, and not yet the source.
        arrived = {name: urn for name, urn in move.urns.items() if dest and name in dest.services}
        if arrived:
            self._edit(move.source, lambda deployment: _drop(deployment, set(arrived.values())))
            self._display.say(f"{move.source}: {len(arrived)} services were in {move.dest} already")
        left = [urn for name, urn in move.urns.items() if name not in arrived]
        if left:
            work = self._session(move.source)
            self._session(move.dest)
            work.workspace.pulumi_command.run(
                ["state", "move", "--yes", "--source", move.source, "--dest", move.dest, *left],
                str(self._root),
                work.workspace.env_vars,
            )
            self._display.say(f"{move.source} to {move.dest}: {len(left)} services moved")

    def _remove_empty(self, state: FleetState) -> None:
        """Shards beyond the number hold nothing on the cluster any more."""
        kept = (
            {shard_stack(self._stack, index) for index in range(self._shards)} if self._shards > 1 else set()
        )
        for name, held in state.shards.items():
            if name not in kept and not held.services:
                self._end_if_interrupted()
                self._session(name).workspace.remove_stack(name, force=True, preserve_config=True)
                self._display.say(f"{name}: empty, removed")

    def _edit(self, name: str, change: Any) -> None:
        edit_state(self._root, name, self._session(name).workspace, change)

    def _record(self, deployment: dict[str, Any]) -> None:
        for item in deployment["resources"]:
            if item["type"] == "pulumi:pulumi:Stack":
                item.setdefault("outputs", {}).setdefault("fleet", {})["shards"] = self._shards

    def _session(self, name: str) -> Session:
        if name not in self._opened:
            self._opened[name] = opened(
                self._root,
                name,
                self._interrupts,
                self._display,
                again=_again(self._stack, self._shards),
                settings_of=self._stack,
            )
        return self._opened[name]

    def _end_if_interrupted(self) -> None:
        if self._interrupts.count:
            raise Refusal(
                "interrupted between two moves: every filter is in one stack",
                f"Go on where it stopped: {_again(self._stack, self._shards)}",
                code=INTERRUPTED,
            )


def _drop(deployment: dict[str, Any], services: set[str]) -> None:
    """Forget services, and what is below them, in a stack's state."""
    gone: set[str] = set()
    for item in deployment["resources"]:  # parents come before their children
        if item["urn"] in services or item.get("parent") in gone:
            gone.add(item["urn"])
    deployment["resources"] = [item for item in deployment["resources"] if item["urn"] not in gone]


def _counted(shards: int) -> str:
    return "one shard (the stack itself)" if shards == 1 else f"{shards} shards"


def _again(stack: str, shards: int) -> str:
    return f"surge fleet reshard {stack} --shards {shards}"
