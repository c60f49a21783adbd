"""What a running stack tells of itself: where its parts listen, and how they may be read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from surge.engine import engine_environment, read_pulumi

__all__ = ["RunningStack", "StackNotRunningError", "running_stack"]


class StackNotRunningError(Exception):
    """There is no such stack, or it has no outputs yet."""


@dataclass(frozen=True)
class RunningStack:
    """endpoints: prometheus, saturation, management (URLs), amqp (host:port).

    access (secret): saturation_token, saturation_ca, publisher_url, admin_password.
    filters: by name, with signal, min, max, queue, slots and, in model seconds, service_s, warmup_s, slo_s;
    worker sets among them, and their members with worker_set.
    fleet: shards, and saturation as a shard is told of it (see surge.model.shard).
    time_factor: model seconds in a wall second. hpa_sync_s: model seconds.
    """

    name: str
    cluster: str
    directory: str
    kubeconfig: str
    endpoints: Mapping[str, str]
    access: Mapping[str, str]
    filters: Mapping[str, Mapping[str, Any]]
    fleet: Mapping[str, Any]
    time_factor: float
    hpa_sync_s: float

    @classmethod
    def parse(cls, name: str, outputs: Mapping[str, Any]) -> Self:
        """Raises StackNotRunningError when an output is missing: the last update did not come so far."""
        try:
            cluster = outputs["cluster"]
            return cls(
                name=name,
                cluster=cluster["name"],
                directory=cluster["directory"],
                kubeconfig=cluster["kubeconfig"],
                endpoints=outputs["endpoints"],
                access=outputs["access"],
                filters=json.loads(outputs["filters"]),
                fleet=outputs["fleet"],
                time_factor=float(outputs["time_factor"]),
                hpa_sync_s=float(outputs["hpa_sync_s"]),
            )
        except KeyError as missing:
            raise StackNotRunningError(
                f"stack {name} has no output {missing} yet: its last update did not finish. "
                f"Finish it: surge up {name}"
            ) from missing


def running_stack(root: Path, name: str = "local") -> RunningStack:
    """Read the outputs of stack `name`, secrets too. Raises StackNotRunningError."""
    asked = ("stack", "output", "--json", "--show-secrets", "--stack", name)
    done = read_pulumi(root, engine_environment(root), *asked)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise StackNotRunningError(
            f"stack {name} is not running ({said[-1] if said else 'no outputs'}). Start it: surge up {name}"
        )
    return RunningStack.parse(name, json.loads(done.stdout))
