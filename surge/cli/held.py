"""What the stacks of a fleet hold, read from their recorded state."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from surge.cli.console import Refusal
from surge.cli.engine_run import latest
from surge.cli.locks import locks_of
from surge.cli.stacks import PROJECT, own_backend, state_directory, state_file
from surge.engine import engine_environment, read_pulumi
from surge.policy.shards import MOST_SHARDS, shard_stack

__all__ = ["SERVICE", "Held", "held_by", "shard_stacks"]

SERVICE = "surge:fleet:FilterService"


@dataclass(frozen=True, kw_only=True)
class Held:
    """services: name -> URN. shards: of the whole fleet, as its base stack recorded it.

    built: the digest that each service was finished with (see FilterService), without those that an update
    began to change since, or left something to do. settled: no update was killed, which would have recorded
    nothing, and nothing is left to do but on services.
    """

    services: Mapping[str, str]
    shards: int | None
    built: Mapping[str, str]
    settled: bool

    @classmethod
    def parse(cls, deployment: Mapping[str, Any], *, killed: bool = False) -> Self:
        """killed: whether an update of the stack is known to have ended without its record."""
        resources = deployment.get("resources") or []
        outputs = next(
            (item.get("outputs") or {} for item in resources if item["type"] == "pulumi:pulumi:Stack"), {}
        )
        found = {
            item["urn"]: item for item in resources if item["type"] == SERVICE and not item.get("delete")
        }
        left = {item.get("parent") for item in resources if item.get("delete") or item.get("initErrors")}
        return cls(
            services={urn.rpartition("::")[2]: urn for urn in found},
            shards=(outputs.get("fleet") or {}).get("shards"),
            built={
                urn.rpartition("::")[2]: digest
                for urn, item in found.items()
                if urn not in left and (digest := _finished(item))
            },
            settled=not (killed or deployment.get("pending_operations") or left - found.keys()),
        )


def _finished(service: Mapping[str, Any]) -> str | None:
    begun, ended = ((service.get(key) or {}).get("digest") for key in ("inputs", "outputs"))
    return ended if begun == ended else None


def held_by(root: Path, name: str) -> Held | None:
    """Return what stack `name` holds, None when there is no such stack. Raises Refusal, EngineError."""
    if not own_backend(root):
        exported = _pulumi(root, "stack", "export", "--stack", name)
        return None if exported is None else Held.parse(exported["deployment"] or {})
    path = state_file(root, name)
    if not path.exists():
        return None
    try:
        return Held.parse(latest(path), killed=bool(locks_of(state_directory(root), PROJECT, name)))
    except ValueError as error:
        raise Refusal(
            f"the state of stack {name} cannot be read: {error}",
            "Without it nobody knows what the stack holds; its last good copy lies beside it, with .bak",
        ) from error


def shard_stacks(root: Path, stack: str) -> list[str]:
    """Return the names of the shard stacks that exist, by number."""
    possible = [shard_stack(stack, index) for index in range(MOST_SHARDS)]
    if own_backend(root):
        return [name for name in possible if state_file(root, name).exists()]
    listed = _pulumi(root, "stack", "ls", "--json", "--project", PROJECT) or []
    names = {str(item["name"]).rpartition("/")[2] for item in listed}
    return [name for name in possible if name in names]


def _pulumi(root: Path, *arguments: str) -> Any:
    """What `pulumi ARGUMENTS` prints as JSON; None when it fails."""
    done = read_pulumi(root, engine_environment(root), *arguments)
    return json.loads(done.stdout) if done.returncode == 0 else None
