"""What the stacks of a fleet hold, read from their recorded state."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from surge.cli.console import Refusal
from surge.cli.engine_run import latest
from surge.cli.stacks import PROJECT, own_backend, state_file
from surge.engine import engine_environment, read_pulumi
from surge.policy.shards import MOST_SHARDS, shard_stack

__all__ = ["SERVICE", "Held", "held_by", "shard_stacks"]

SERVICE = "surge:fleet:FilterService"


@dataclass(frozen=True, kw_only=True)
class Held:
    """services: filter -> URN. shards: of the whole fleet, as its base stack recorded it. common, built:
    the digests of what a shard was built from, see surge.model.Shard. settled: no update of it was cut short.
    """

    services: Mapping[str, str]
    shards: int | None
    common: str | None
    built: Mapping[str, str]
    settled: bool

    @classmethod
    def parse(cls, deployment: Mapping[str, Any]) -> Self:
        resources = deployment.get("resources") or []
        outputs = next(
            (item.get("outputs") or {} for item in resources if item["type"] == "pulumi:pulumi:Stack"), {}
        )
        built = outputs.get("built") or {}
        return cls(
            services={item["urn"].rpartition("::")[2]: item["urn"] for item in resources if _serves(item)},
            shards=(outputs.get("fleet") or {}).get("shards"),
            common=built.get("common"),
            built=built.get("services") or {},
            settled=not deployment.get("pending_operations")
            and not any(item.get("delete") or item.get("initErrors") for item in resources),
        )


def _serves(item: Mapping[str, Any]) -> bool:
    return item["type"] == SERVICE and not item.get("delete")


def held_by(root: Path, name: str) -> Held | None:
    """Return what stack `name` holds, None when there is no such stack. Raises Refusal, EngineError."""
    if not own_backend(root):
        exported = _pulumi(root, "stack", "export", "--stack", name)
        return None if exported is None else Held.parse(exported["deployment"] or {})
    path = state_file(root, name)
    if not path.exists():
        return None
    try:
        return Held.parse(latest(path))
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
