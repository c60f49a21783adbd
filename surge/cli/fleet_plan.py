"""What each stack of a fleet is to hold, and which of them an update would change."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from surge.cli.console import Refusal
from surge.cli.fleet_outputs import Facts
from surge.cli.held import Held, held_by, shard_stacks
from surge.model import Catalogue, Filter, Settings
from surge.model.worker_sets import service_of
from surge.policy.shards import home_stack, shard_of, shard_stack, usual_shards

__all__ = ["NOTHING", "FleetState", "Part", "fleet_state", "here", "parts", "refuse_if_sharded", "shards_for"]

NOTHING = "nothing"
# Settings that no service reads.
OF_THE_STACK_ITSELF = {"broker", "catalogue", "fleet", "prices", "prometheus", "saturation", "scale_in"}
# What a shard's objects are made from, beside settings and catalogue.
SOURCES = ("components", "surge/model", "surge/policy")


@dataclass(frozen=True, kw_only=True)
class FleetState:
    """base: None when the fleet's stack was never up. shards: what exists of shard stacks, by name."""

    stack: str
    base: Held | None
    shards: Mapping[str, Held]

    @property
    def recorded(self) -> int | None:
        """The number of shards that the fleet has, None for a new one."""
        if self.base is None or (self.base.shards is None and not self.base.services):
            return None
        return self.base.shards or 1

    def misplaced(self, shards: int) -> dict[str, str]:
        """Service -> the stack that holds it, for all that `shards` shards would hold elsewhere."""
        held = {self.stack: self.base, **self.shards}
        return {
            name: stack
            for stack, each in held.items()
            for name in (each.services if each else ())
            if home_stack(self.stack, name, shards) != stack
        }


@dataclass(frozen=True, kw_only=True)
class Part:
    """One shard. told: what its program is told (surge:shard). to_do: what an update would do, in services;
    "nothing" when it need not run. only: the services that it may confine itself to; none when all of the
    shard has to be looked at."""

    stack: str
    filters: Sequence[str]
    told: Mapping[str, Any]
    to_do: str
    only: Sequence[str]

    @property
    def current(self) -> bool:
        return self.to_do == NOTHING


def fleet_state(root: Path, stack: str) -> FleetState:
    """Read the recorded state of all stacks of a fleet. Raises Refusal when one cannot be read."""
    found = {name: held_by(root, name) for name in shard_stacks(root, stack)}
    return FleetState(
        stack=stack,
        base=held_by(root, stack),
        shards={name: held for name, held in found.items() if held is not None},
    )


def shards_for(state: FleetState, settings: Settings, catalogue: Catalogue) -> int:
    """Return how many shards an update works with: what the fleet has, for a new one what the settings say.

    Raises Refusal when the settings want another number, or a move between stacks is not finished.
    """
    stack, wanted, recorded = state.stack, settings.fleet.shards, state.recorded
    if recorded is None:
        if state.shards:
            raise Refusal(
                f"stack {stack} is not up, but {len(state.shards)} shards of an earlier one are recorded: "
                "what they hold went with its cluster.",
                f"Forget them: surge down {stack}",
            )
        return wanted or usual_shards(len(here(settings, catalogue)))
    if misplaced := state.misplaced(recorded):
        raise Refusal(
            f"{len(misplaced)} filters of {stack} are not where {recorded} shards put them, such as "
            f"{min(misplaced)} in {misplaced[min(misplaced)]}: a re-sharding was cut short, and an update "
            "would make them twice.",
            f"Finish it: surge fleet reshard {stack} --shards {recorded}",
        )
    if wanted not in {None, recorded}:
        raise Refusal(
            f"fleet.shards is {wanted} in the settings, but the fleet of {stack} has {recorded}: an update "
            "would delete workers in one stack to make them in another.",
            f"Move them while they run: surge fleet reshard {stack} --shards {wanted}",
        )
    return recorded


def refuse_if_sharded(root: Path, stack: str, settings: Settings, verb: str) -> None:
    """Raise Refusal when `surge up` or `preview` would see the base stack of a sharded fleet alone."""
    catalogue = Catalogue.read(root / settings.catalogue, settings)
    shards = shards_for(fleet_state(root, stack), settings, catalogue)
    if shards > 1:
        raise Refusal(
            f"the fleet of {stack} is {shards} shards, each a stack beside {stack}, and this would see none.",
            f"Run: surge fleet {verb} {stack}",
        )


def parts(
    root: Path,
    state: FleetState,
    *,
    settings: Settings,
    catalogue: Catalogue,
    facts: Facts,
    shards: int,
) -> list[Part]:
    """Return every shard as the catalogue wants it. facts: of the base stack, which is up to date."""
    common = [_source(root), facts.kubeconfig, settings.model_dump_json(exclude=OF_THE_STACK_ITSELF)]
    found: list[Part] = []
    for index in range(shards):
        filters = [item for item in here(settings, catalogue) if shard_of(service_of(item), shards) == index]
        stack = shard_stack(state.stack, index)
        told = {
            "base": state.stack,
            "index": index,
            "shards": shards,
            "saturation": dict(facts.saturation),
        }
        wanted = _digests(filters, [*common, json.dumps(told)])
        held = state.shards.get(stack)
        found.append(
            Part(
                stack=stack,
                filters=[item.name for item in filters],
                told={**told, "services": wanted},
                to_do=_to_do(held, wanted),
                only=_only(held, wanted),
            )
        )
    return found


def here(settings: Settings, catalogue: Catalogue) -> list[Filter]:
    """Return the filters whose workers run on this fleet's cluster."""
    return [item for item in catalogue.filters if item.runs_at(settings.place)]


def _digests(filters: Sequence[Filter], common: Sequence[str]) -> dict[str, str]:
    texts: dict[str, list[str]] = {}
    for item in filters:
        texts.setdefault(service_of(item), []).append(item.model_dump_json(by_alias=True))
    return {service: _digest([*common, *each]) for service, each in sorted(texts.items())}


def _to_do(held: Held | None, wanted: Mapping[str, str]) -> str:
    if held is None:
        return f"create {len(wanted)}"
    new, gone = len(wanted.keys() - held.services), len(held.services.keys() - wanted.keys())
    if new or gone:
        return ", ".join([*([f"create {new}"] if new else []), *([f"delete {gone}"] if gone else [])])
    if not held.settled:
        return "finish an update"
    return NOTHING if held.built == wanted else "update"


def _only(held: Held | None, wanted: Mapping[str, str]) -> list[str]:
    """The services that are not built as wanted; none where that is all of them, or not all that is open."""
    if held is None or not held.settled:
        return []
    names = held.services.keys() | wanted.keys()
    changed = {name for name in names if held.built.get(name) != wanted.get(name)}
    return [] if wanted.keys() <= changed else sorted(changed)


def _digest(texts: Sequence[str]) -> str:
    return sha256("\0".join(texts).encode()).hexdigest()


@cache
def _source(root: Path) -> str:
    files = [file for folder in SOURCES for file in sorted((root / folder).rglob("*.py"))]
    files += [root / "__main__.py", root / "requirements.txt"]
    return _digest([f"{file.relative_to(root)}\0{file.read_text()}" for file in files])
