"""Check, diff, create, read, update and delete of one object, whatever its kind."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from threading import Event, Lock
from typing import NamedTuple

from . import naming, states
from .applying import Applier, Tell, in_namespace
from .cluster import Cluster, Object
from .diffs import Change, changes, drifted, path_text, under
from .kinds import Kind, force_new, kind_of
from .problems import KindMissingError, NotReadyError, ProblemError, RefusedError, UnreachableError
from .readiness import rule_for
from .settings import ProviderSettings
from .waiting import Wait, timeout_s, until_gone, until_ready
from .wire import Value, has_unknown, mark_secrets, reveal

__all__ = ["Asked", "Operations", "PartialError", "Plan", "Properties"]

# Nothing is ever owned by these: waiting for dependents would only ask for a garbage collector.
LEAVES = frozenset(
    {
        "APIService",
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
        "Endpoints",
        "IngressClass",
        "LimitRange",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PriorityClass",
        "ResourceQuota",
        "Role",
        "RoleBinding",
        "RuntimeClass",
        "Secret",
        "ServiceAccount",
        "StorageClass",
    }
)

Properties = dict[str, Value]


class PartialError(ProblemError):
    """The object was written, but is not ready: the engine keeps `properties` and tries again next time."""

    def __init__(self, error: NotReadyError, identifier: str, properties: Properties) -> None:
        super().__init__(str(error))
        self.reasons, self.identifier, self.properties = error.reasons, identifier, properties


class Plan(NamedTuple):
    changes: list[Change]
    delete_first: bool


class Asked(NamedTuple):
    """How the engine asked. timeout_s: the resource's customTimeouts, 0 when it has none."""

    tell: Tell
    timeout_s: float = 0.0
    preview: bool = False
    ignored: tuple[str, ...] = ()


@dataclass
class Operations:
    """settings: of the provider. cancelled: set once the user gave up."""

    settings: ProviderSettings
    cancelled: Event

    def __post_init__(self) -> None:
        self._lock = Lock()

    def check(
        self, token: str, name: str, olds: Properties, news: Properties, *, seed: bytes, proposed: str | None
    ) -> Properties:
        """The inputs with apiVersion, kind, name and namespace filled in."""
        inputs, old = reveal(states.from_program(news)), reveal(olds)
        kind = kind_of(token, inputs)
        inputs = {"apiVersion": kind.api_version, "kind": kind.name} | inputs
        inputs = naming.with_name(inputs, old, name, seed, proposed)
        if not naming.namespace_of(inputs) and self._namespaced(kind, old):
            inputs = in_namespace(inputs, self._namespace)
        return mark_secrets(states.to_program(inputs), states.to_program(news))

    def diff(self, token: str, state: Properties, news: Properties, ignored: tuple[str, ...] = ()) -> Plan:
        """What the program changed against the inputs in the state, and whether to delete first."""
        new, old, live = reveal(states.from_program(news)), states.inputs_in(state), states.live_in(state)
        namespace = naming.namespace_of(live)
        # A state without __inputs was not written by a provider of this package: compare with the object.
        old = in_namespace(old or drifted(new, None, live), namespace)
        new = in_namespace(new, namespace)
        paths = force_new(kind_of(token, new), new, live, mutable=self.settings.mutable)
        found = [
            change
            for change in changes(old, new, paths)
            if not any(under(path_text(change.path), path) for path in ignored)
        ]
        replaced = any(change.replaces for change in found)
        same_name = naming.name_of(new) == naming.name_of(live) and not naming.is_autonamed(new)
        same_place = naming.namespace_of(new) == namespace
        return Plan(found, delete_first=replaced and same_name and same_place)

    def create(self, token: str, news: Properties, asked: Asked) -> tuple[str, Properties]:
        """The identifier ("" in a preview) and the outputs."""
        inputs = states.from_program(news)
        kind = kind_of(token, reveal(inputs))
        if asked.preview:
            return "", self._previewed(lambda: self._dry_create(kind, inputs), news, asked.tell)
        namespaced = self._applier.namespaced(kind, asked.tell)
        inputs = in_namespace(inputs, self._namespace if namespaced else "")
        body = reveal(inputs)
        if not self.settings.upsert:
            self._applier.refuse_existing(kind, body)
        manager = naming.field_manager(body, {})
        live = self._applier.apply_new(kind, body, manager, asked.tell)
        return self._ready(kind, live, _Record(inputs, manager, kind.api_version), asked)

    def update(self, token: str, state: Properties, news: Properties, asked: Asked) -> Properties:
        """The outputs."""
        live = states.live_in(state)
        inputs = in_namespace(states.from_program(news), naming.namespace_of(live))
        plain = reveal(inputs)
        kind = kind_of(token, plain)
        manager = naming.field_manager(plain, state)

        def applied() -> Object:
            body = self._applier.with_ignored(kind, plain, live, list(asked.ignored))
            uid = live["metadata"].get("uid", "")
            return self._applier.apply(kind, body, manager, asked.tell, uid=uid, dry_run=asked.preview)

        if asked.preview:
            return self._previewed(
                lambda: states.preview_outputs(applied(), inputs, created=False), news, asked.tell
            )
        done = applied()
        before = naming.field_manager(states.inputs_in(state), state)
        if manager != before:
            self._applier.relinquish(kind, done, before)
        initial = state.get("__initialApiVersion") or kind.api_version
        return self._ready(kind, done, _Record(inputs, manager, initial), asked)[1]

    def read(
        self, token: str, identifier: str, state: Properties, given: Properties, asked: Asked
    ) -> tuple[Properties, Properties] | None:
        """(outputs, inputs) of the object as it is now; None when it is gone."""
        before = states.live_in(state)
        inputs = reveal(states.from_program(given)) or states.inputs_in(state)
        kind = kind_of(token, inputs or before)
        try:
            live = self._found(kind, identifier)
        except UnreachableError as error:
            if self.settings.keep_unreachable:
                asked.tell(f"{error}. Its state is left as it was, as skipUpdateUnreachable asks", True)
                return state, given
            self._drop_unreachable(error, asked)
            return None
        if live is None:
            return None
        inputs = drifted(inputs, before or None, live) if inputs else states.imported_inputs(live)
        marked = mark_secrets(inputs, states.from_program(given))
        manager = naming.field_manager(inputs, state)
        initial = state.get("__initialApiVersion") or kind.api_version
        return states.outputs(live, marked, manager, initial), states.to_program(marked)

    def delete(self, token: str, identifier: str, state: Properties, asked: Asked) -> None:
        """Returns when the object is gone. Raises NotReadyError saying what holds it."""
        live = states.live_in(state)
        kind = kind_of(token, live)
        namespace, name = naming.split_identifier(identifier)
        uid = (live.get("metadata") or {}).get("uid", "")
        meant = {"metadata": {"name": name, "namespace": namespace, "uid": uid}}
        try:
            there = self._cluster.delete(kind, name, namespace, propagation=_propagation(kind, live), uid=uid)
            wait_s = timeout_s(kind, states.inputs_in(state) or live, asked.timeout_s)
            if there and wait_s:
                until_gone(self._cluster, kind, meant, self._wait(wait_s, asked.tell))
        except KindMissingError:
            return  # its definition is gone, and with it every object of the kind
        except UnreachableError as error:
            self._drop_unreachable(error, asked)

    @property
    def _cluster(self) -> Cluster:
        with self._lock:
            return self._connected

    @cached_property
    def _connected(self) -> Cluster:
        return Cluster(self.settings)

    @property
    def _applier(self) -> Applier:
        return Applier(self._cluster, self.settings.patch_force, self.cancelled)

    @cached_property
    def _namespace(self) -> str:
        return self.settings.default_namespace()

    def _namespaced(self, kind: Kind, old: Object) -> bool:
        if not self.settings.known:
            return False
        if old.get("metadata"):
            return bool(naming.namespace_of(old))
        try:
            return self._applier.namespaced(kind)
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
            # A namespace of the same update is not there yet; an account that may only read cannot dry-run.
            if refusal.status == 404 or refusal.not_permitted:
                return news
            raise

    def _dry_create(self, kind: Kind, inputs: Properties) -> Properties:
        inputs = in_namespace(inputs, self._namespace if self._applier.namespaced(kind) else "")
        body = reveal(inputs)
        if self._cluster.read(kind, naming.name_of(body), naming.namespace_of(body)) is not None:
            return states.to_program(inputs)  # to be replaced, or refused when it is created
        live, _ = self._cluster.apply(kind, body, naming.field_manager(body, {}), dry_run=True)
        return states.preview_outputs(live, inputs, created=True)

    def _found(self, kind: Kind, identifier: str) -> Object | None:
        namespace, name = naming.split_identifier(identifier)
        try:
            namespaced = self._applier.namespaced(kind)
        except KindMissingError:
            return None
        return self._cluster.read(kind, name, (namespace or self._namespace) if namespaced else "")

    def _drop_unreachable(self, error: UnreachableError, asked: Asked) -> None:
        if not self.settings.delete_unreachable:
            raise error
        asked.tell(f"{error}. It is dropped from the state, as deleteUnreachable asks", True)

    def _ready(self, kind: Kind, live: Object, record: "_Record", asked: Asked) -> tuple[str, Properties]:
        plain = reveal(record.inputs)
        rule, wait_s = rule_for(kind, plain), timeout_s(kind, plain, asked.timeout_s)
        try:
            if rule and wait_s:
                live = until_ready(self._cluster, kind, live, rule, self._wait(wait_s, asked.tell))
        except NotReadyError as error:
            kept = states.outputs(error.live, *record)
            raise PartialError(error, naming.identifier(live), kept) from error
        return naming.identifier(live), states.outputs(live, *record)

    def _wait(self, seconds: float, tell: Tell) -> Wait:
        return Wait(seconds, self.cancelled, lambda message: tell(message, False))


class _Record(NamedTuple):
    """What is kept beside the live object."""

    inputs: Properties
    manager: str
    initial_api_version: str


def _propagation(kind: Kind, live: Object) -> str:
    wanted = naming.annotation(live, naming.PROPAGATION).capitalize()
    if wanted in {"Orphan", "Background", "Foreground"}:
        return wanted
    return "Background" if kind.name in LEAVES else "Foreground"
