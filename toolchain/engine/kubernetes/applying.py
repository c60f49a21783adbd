"""Applying one object to the API server, and what may stand in the way."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Any

from . import naming
from .cluster import Cluster, Object
from .kinds import Kind
from .problems import KindMissingError, ProblemError, RefusedError
from .wire import Value

__all__ = ["Applier", "Tell", "in_namespace"]

# How long a new kind or namespace may take to be served everywhere in the API server.
SETTLE_S, SETTLE_PAUSE_S = 30.0, 0.5

# (message, lasting): lasting ones are warnings, the others replace each other in the status column.
Tell = Callable[[str, bool], None]


@dataclass(frozen=True)
class Applier:
    """patch_force: take fields over from other managers, unless an object's annotation says otherwise."""

    cluster: Cluster
    patch_force: bool
    cancelled: Event

    def namespaced(self, kind: Kind, tell: Tell | None = None) -> bool:
        """Whether the kind lives in namespaces. With tell, waits for a kind whose definition is just coming.

        Raises KindMissingError.
        """
        waited_s = 0.0
        while True:
            try:
                return self.cluster.resource(kind).namespaced
            except KindMissingError:
                if tell is None or "." not in kind.group or waited_s >= SETTLE_S:
                    raise
                tell(f"waiting for the API server to serve {kind.api_version} {kind.name}", False)
                if self.cancelled.wait(SETTLE_PAUSE_S):
                    raise
                waited_s += SETTLE_PAUSE_S

    def refuse_existing(self, kind: Kind, body: Object) -> None:
        """Raises ProblemError when an object of this name is there."""
        if self.cluster.read(kind, naming.name_of(body), naming.namespace_of(body)) is None:
            return
        place = naming.identifier(body)
        raise ProblemError(
            f"{kind.name} {place}: AlreadyExists: an object of this name is on the cluster, and applying to "
            f"it could overwrite somebody's work. Adopt it with ResourceOptions(import_={place!r}), delete "
            f"it, or set upsertExistingObjects on the provider"
        )

    def apply_new(self, kind: Kind, body: Object, manager: str, tell: Tell) -> Object:
        """Apply; once more while its namespace, kind or service account is only just coming."""
        waited_s = 0.0
        while True:
            try:
                return self.apply(kind, body, manager, tell)
            except RefusedError as refusal:
                fresh = refusal.status == 404 or "error looking up service account" in refusal.message
                if not fresh or waited_s >= SETTLE_S / 3:
                    raise
                tell(f"waiting: {refusal.message}", False)
                if self.cancelled.wait(SETTLE_PAUSE_S):
                    raise
                waited_s += SETTLE_PAUSE_S

    def apply(
        self, kind: Kind, body: Object, manager: str, tell: Tell, *, uid: str = "", dry_run: bool = False
    ) -> Object:
        """The object as the server made it.

        uid: of the object that is meant; the server refuses when it is gone or another one by now.
        """
        if uid:
            body = {**body, "metadata": {**body["metadata"], "uid": uid}}
        force = naming.annotation(body, naming.PATCH_FORCE)
        forced = force == "true" if force else self.patch_force
        try:
            live, warnings = self.cluster.apply(kind, body, manager, force=forced, dry_run=dry_run)
        except RefusedError as refusal:
            if refusal.status == 409 and "uid mismatch" in refusal.message:
                raise ProblemError(
                    f"{kind.name} {naming.identifier(body)}: it was deleted or made anew outside of Pulumi. "
                    f"Run `pulumi refresh`, then update again"
                ) from refusal
            raise
        for warning in warnings:
            tell(f"{kind.name} {naming.identifier(body)}: {warning}", True)
        return live

    def relinquish(self, kind: Kind, live: Object, manager: str) -> None:
        """Have a manager own nothing of the object any more."""
        metadata = {key: live["metadata"][key] for key in ("name", "namespace") if key in live["metadata"]}
        empty = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata}
        self.cluster.apply(kind, empty, manager)

    def with_ignored(self, kind: Kind, body: Object, live: Object, ignored: list[str]) -> Object:
        """body with ignored fields as they are now: an applied equal value takes nothing from its owner."""
        if not ignored:
            return body
        now = self.cluster.read(kind, naming.name_of(live), naming.namespace_of(live)) or live
        for path in ignored:
            body = _copied(path.split("."), now, body)
        return body


def in_namespace(inputs: dict[str, Value], namespace: Value) -> dict[str, Value]:
    """inputs with the namespace where they have none; "" takes it away (kinds without namespaces)."""
    metadata = inputs.get("metadata")
    if not isinstance(metadata, dict):
        return inputs
    rest = {key: value for key, value in metadata.items() if key != "namespace"}
    if namespace:
        rest["namespace"] = metadata.get("namespace") or namespace
    return {**inputs, "metadata": rest}


def _copied(path: list[str], source: Any, target: Any) -> Any:
    """target with the value at path taken from source, or without it when source has none."""
    if not isinstance(source, dict) or not isinstance(target, dict):
        return target
    key, *rest = path
    if rest:
        return {**target, key: _copied(rest, source.get(key), target[key])} if key in target else target
    without = {name: value for name, value in target.items() if name != key}
    return without | ({key: source[key]} if key in source else {})
