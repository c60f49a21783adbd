"""Check, diff, create, read, update and delete of one object, whatever its kind."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from threading import Event, Lock
from typing import Any, NamedTuple

from . import naming, states
from .cluster import Cluster, Object
from .diffs import Change, changes, drifted, path_text, under
from .kinds import Kind, force_new, kind_of
from .problems import KindMissingError, NotReadyError, ProblemError, RefusedError, UnreachableError
from .readiness import rule_for
from .settings import ProviderSettings
from .waiting import Wait, timeout_s, until_gone, until_ready
from .wire import UNKNOWN, Value, has_unknown, mark_secrets, reveal

__all__ = ["Operations", "PartialError", "Plan", "Tell"]

# How long a new kind or namespace may take to be served everywhere in the API server.
SETTLE_S, SETTLE_PAUSE_S = 30.0, 0.5

# Nothing is ever owned by these: waiting for dependents would only ask for a running garbage collector.
LEAVES = frozenset(
    "ConfigMap Secret ServiceAccount Namespace Node PriorityClass Role RoleBinding ClusterRole ClusterRoleBinding "
    "StorageClass PersistentVolume Endpoints LimitRange ResourceQuota APIService IngressClass RuntimeClass".split()
)

Properties = dict[str, Value]
# (message, lasting): lasting ones are warnings, the others replace each other in the status column.
Tell = Callable[[str, bool], None]


class PartialError(ProblemError):
    """The object was written, but is not ready: the engine keeps `properties` and tries again next time."""

    def __init__(self, error: NotReadyError, identifier: str, properties: Properties) -> None:
        super().__init__(str(error))
        self.reasons, self.identifier, self.properties = error.reasons, identifier, properties


class Plan(NamedTuple):
    changes: list[Change]
    delete_first: bool


@dataclass
class Operations:
    """settings: of the provider. cancelled: set once the user gave up."""

    settings: ProviderSettings
    cancelled: Event

    def __post_init__(self) -> None:
        self._lock = Lock()

    @property
    def cluster(self) -> Cluster:
        with self._lock:
            return self._cluster

    @cached_property
    def _cluster(self) -> Cluster:
        return Cluster(self.settings)

    @cached_property
    def _namespace(self) -> str:
        return self.settings.default_namespace()

    def check(
        self, token: str, name: str, olds: Properties, news: Properties, seed: bytes, proposed: str | None
    ) -> Properties:
        """The inputs with apiVersion, kind, name and namespace filled in."""
        inputs = reveal(states.from_program(news))
        kind = kind_of(token, inputs)
        inputs = {"apiVersion": kind.api_version, "kind": kind.name} | inputs
        inputs = naming.with_name(inputs, reveal(olds), name, seed, proposed)
        metadata = inputs["metadata"]
        if metadata is not UNKNOWN and not metadata.get("namespace") and self._namespaced(kind, reveal(olds)):
            inputs["metadata"] = {**metadata, "namespace": self._namespace}
        return mark_secrets(states.to_program(inputs), states.to_program(news))

    def diff(self, token: str, state: Properties, news: Properties, ignored: list[str]) -> Plan:
        new, old, live = reveal(states.from_program(news)), states.inputs_in(state), states.live_in(state)
        if not old:  # a state without __inputs: compare with what is there
            old = drifted(new, None, live)
        for inputs in (old, new):
            _scope(inputs, naming.namespace_of(live))
        found = changes(
            old, new, force_new(kind_of(token, new), new | _immutable(live), mutable=self.settings.mutable)
        )
        found = [one for one in found if not any(under(path_text(one.path), path) for path in ignored)]
        replaced = any(one.replaces for one in found)
        named = naming.name_of(new) == naming.name_of(live) and not naming.is_autonamed(new)
        same_place = naming.namespace_of(new) == naming.namespace_of(live)
        return Plan(found, delete_first=replaced and named and same_place)

    def create(
        self, token: str, news: Properties, custom_s: float, *, preview: bool, tell: Tell
    ) -> tuple[str, Properties]:
        """The identifier ("" in a preview) and the outputs."""
        inputs = states.from_program(news)
        body = reveal(inputs)
        kind = kind_of(token, body)
        if preview:
            return "", self._previewed(lambda: self._dry_create(kind, inputs), news, tell)
        self._place(kind, inputs, tell)
        body = reveal(inputs)
        if not self.settings.upsert:
            self._refuse_existing(kind, body)
        manager = naming.field_manager(body, {})
        live = self._applied_when_settled(kind, body, manager, tell)
        return self._ready(kind, inputs, live, manager, body["apiVersion"], custom_s, tell)

    def update(
        self,
        token: str,
        state: Properties,
        news: Properties,
        custom_s: float,
        *,
        ignored: list[str],
        preview: bool,
        tell: Tell,
    ) -> Properties:
        inputs = states.from_program(news)
        kind = kind_of(token, reveal(inputs))
        old, live = states.inputs_in(state), states.live_in(state)
        _scope(inputs, naming.namespace_of(live))

        def applied() -> Object:
            body = self._with_ignored(kind, reveal(inputs), live, ignored)
            # The uid makes the server refuse when the object is gone or is another one by now.
            body["metadata"] = {**body["metadata"], "uid": live["metadata"]["uid"]}
            return self._apply(kind, body, manager, tell, dry_run=preview)

        manager_before = naming.field_manager(old, state)
        manager = naming.field_manager(reveal(inputs), state)
        if preview:
            return self._previewed(
                lambda: states.preview_outputs(applied(), inputs, created=False), news, tell
            )
        done = applied()
        if manager != manager_before:
            self._relinquish(kind, done, manager_before)
        initial = state.get("__initialApiVersion") or old.get("apiVersion") or kind.api_version
        return self._ready(kind, inputs, done, manager, initial, custom_s, tell)[1]

    def read(
        self, token: str, identifier: str, state: Properties, given: Properties, tell: Tell
    ) -> tuple[Properties, Properties] | None:
        """(outputs, inputs) of the object as it is now; None when it is gone."""
        before = states.live_in(state)
        inputs = reveal(states.from_program(given)) or states.inputs_in(state)
        kind = kind_of(token, inputs or before)
        try:
            namespaced = self.cluster.resource(kind).namespaced
            namespace, name = naming.split_identifier(identifier)
            live = self.cluster.read(kind, name, (namespace or self._namespace) if namespaced else "")
        except KindMissingError:
            return None
        except UnreachableError as error:
            if not self.settings.delete_unreachable:
                raise
            tell(f"{error}. It is dropped from the state, as deleteUnreachable asks", True)
            return None
        if live is None:
            return None
        inputs = drifted(inputs, before or None, live) if inputs else states.imported_inputs(live)
        marked = mark_secrets(inputs, states.from_program(given))
        manager = naming.field_manager(inputs, state)
        initial = state.get("__initialApiVersion") or inputs.get("apiVersion") or kind.api_version
        return states.outputs(live, marked, manager, initial), states.to_program(marked)

    def delete(self, token: str, identifier: str, state: Properties, custom_s: float, tell: Tell) -> None:
        live, inputs = states.live_in(state), states.inputs_in(state)
        kind = kind_of(token, live or inputs)
        namespace, name = naming.split_identifier(identifier)
        metadata = live.get("metadata") or {"name": name, "namespace": namespace}
        try:
            there = self.cluster.delete(
                kind, name, namespace, propagation=_propagation(kind, live), uid=metadata.get("uid", "")
            )
            wait_s = timeout_s(kind, inputs or live, custom_s)
            if there and wait_s:
                until_gone(self.cluster, kind, {"metadata": metadata}, self._wait(wait_s, tell))
        except KindMissingError:
            return  # its definition is gone, and with it every object of the kind
        except UnreachableError as error:
            if not self.settings.delete_unreachable:
                raise
            tell(f"{error}. It is dropped from the state, as deleteUnreachable asks", True)

    def _namespaced(self, kind: Kind, old: Object) -> bool:
        if not self.settings.known:
            return False
        if old.get("metadata"):
            return bool(naming.namespace_of(old))
        try:
            return self.cluster.resource(kind).namespaced
        except KindMissingError:
            return True  # a custom resource before its definition; corrected when it is created
        except UnreachableError:
            return False

    def _previewed(self, dry_run: Callable[[], Properties], news: Properties, tell: Tell) -> Properties:
        """The dry run's outputs; the inputs alone where no dry run can be had."""
        if not self.settings.known or has_unknown(news):
            return news
        try:
            return dry_run()
        except KindMissingError:
            return news  # its definition comes with the same update
        except UnreachableError as error:
            tell(f"previewed without the cluster: {error}", True)
            return news
        except RefusedError as refusal:
            # A namespace of the same update does not exist yet; an account that may only read cannot dry-run.
            if refusal.status == 404 or refusal.not_permitted:
                return news
            raise

    def _dry_create(self, kind: Kind, inputs: Properties) -> Properties:
        self._place(kind, inputs, None)
        body = reveal(inputs)
        if self.cluster.read(kind, naming.name_of(body), naming.namespace_of(body)) is not None:
            return states.to_program(inputs)  # to be replaced, or refused when it is created
        live, _ = self.cluster.apply(kind, body, naming.field_manager(body, {}), dry_run=True)
        return states.preview_outputs(live, inputs, created=True)

    def _place(self, kind: Kind, inputs: Properties, tell: Tell | None) -> None:
        """Give inputs the namespace that the kind's scope asks for. Waits for a new kind when tell is given."""
        waited_s = 0.0
        while True:
            try:
                namespaced = self.cluster.resource(kind).namespaced
                break
            except KindMissingError:
                if tell is None or "." not in kind.group or waited_s >= SETTLE_S:
                    raise
                tell(f"waiting for the API server to serve {kind.api_version} {kind.name}", False)
                if self.cancelled.wait(SETTLE_PAUSE_S):
                    raise
                waited_s += SETTLE_PAUSE_S
        _scope(inputs, self._namespace if namespaced else "")

    def _refuse_existing(self, kind: Kind, body: Object) -> None:
        name, namespace = naming.name_of(body), naming.namespace_of(body)
        if self.cluster.read(kind, name, namespace) is None:
            return
        place = naming.identifier(body)
        raise ProblemError(
            f"{kind.name} {place}: AlreadyExists: an object of this name is on the cluster, and applying to it could "
            f"overwrite somebody's work. Adopt it with ResourceOptions(import_={place!r}), delete it, or set "
            f"upsertExistingObjects on the provider"
        )

    def _applied_when_settled(self, kind: Kind, body: Object, manager: str, tell: Tell) -> Object:
        waited_s = 0.0
        while True:
            try:
                return self._apply(kind, body, manager, tell)
            except RefusedError as refusal:
                fresh = refusal.status == 404 or "error looking up service account" in refusal.message
                if not fresh or waited_s >= SETTLE_S / 3:
                    raise
                tell(f"waiting: {refusal.message}", False)
                if self.cancelled.wait(SETTLE_PAUSE_S):
                    raise
                waited_s += SETTLE_PAUSE_S

    def _apply(self, kind: Kind, body: Object, manager: str, tell: Tell, *, dry_run: bool = False) -> Object:
        force = naming.annotation(body, naming.PATCH_FORCE)
        forced = force == "true" if force else self.settings.patch_force
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

    def _relinquish(self, kind: Kind, live: Object, manager: str) -> None:
        """Have a manager own nothing of the object any more."""
        metadata = {key: live["metadata"][key] for key in ("name", "namespace") if key in live["metadata"]}
        self.cluster.apply(
            kind, {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata}, manager
        )

    def _with_ignored(self, kind: Kind, body: Object, live: Object, ignored: list[str]) -> Object:
        """body with ignored fields as they are now: an applied equal value takes nothing from its owner."""
        if not ignored:
            return dict(body)
        now = self.cluster.read(kind, naming.name_of(live), naming.namespace_of(live)) or live
        for path in ignored:
            body = _copied(path.split("."), now, body)
        return dict(body)

    def _ready(
        self,
        kind: Kind,
        inputs: Properties,
        live: Object,
        manager: str,
        initial: str,
        custom_s: float,
        tell: Tell,
    ) -> tuple[str, Properties]:
        identifier = naming.identifier(live)
        rule, wait_s = rule_for(kind, reveal(inputs)), timeout_s(kind, reveal(inputs), custom_s)
        try:
            if rule and wait_s:
                live = until_ready(self.cluster, kind, live, rule, self._wait(wait_s, tell))
        except NotReadyError as error:
            raise PartialError(
                error, identifier, states.outputs(error.live, inputs, manager, initial)
            ) from error
        return identifier, states.outputs(live, inputs, manager, initial)

    def _wait(self, seconds: float, tell: Tell) -> Wait:
        return Wait(seconds, self.cancelled, lambda message: tell(message, False))


def _scope(inputs: Properties, namespace: Value) -> None:
    metadata = inputs.get("metadata")
    if not isinstance(metadata, dict):
        return
    rest = {key: value for key, value in metadata.items() if key != "namespace"}
    inputs["metadata"] = rest | ({"namespace": metadata.get("namespace") or namespace} if namespace else {})


def _immutable(live: Object) -> Object:
    """An object that is immutable on the cluster stays so, whatever the program says."""
    return {"immutable": True} if live.get("immutable") is True else {}


def _propagation(kind: Kind, live: Object) -> str:
    wanted = naming.annotation(live, naming.PROPAGATION).capitalize()
    if wanted in {"Orphan", "Background", "Foreground"}:
        return wanted
    return "Background" if kind.name in LEAVES else "Foreground"


def _copied(path: list[str], source: Any, target: Any) -> Any:
    """target with the value at path taken from source, or without it when source has none."""
    if not isinstance(source, dict) or not isinstance(target, dict):
        return target
    key, *rest = path
    if rest:
        return {**target, key: _copied(rest, source.get(key), target[key])} if key in target else target
    without = {name: value for name, value in target.items() if name != key}
    return without | ({key: source[key]} if key in source else {})
