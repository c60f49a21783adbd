"""surge:broker:Topology as the engine sees it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pulumi.provider.experimental import provider as api
from pulumi.provider.experimental.property_value import PropertyValue

from .management import Management, UnreachableError
from .problems import PartialError, ProblemError
from .topology import Live, Step, adopted, deletions, doomed, plan, titles, unbindings
from .topology_inputs import Topology
from .values import UNKNOWN, changed, failures, has_unknown, plain, wrap

if TYPE_CHECKING:
    from .provider import Properties, Work

__all__ = ["BrokerTopology"]

INPUTS = tuple(Topology.model_fields)
OUTPUTS = ("missing", "adopted")

BOOT_S = 60.0
# A refresh and a preview look once more after a hiccup, and do not wait for a node that is down.
LOOK_S = 2.0
# The counts as the queues last told them: every 5 s unless set. With statistics they are older yet.
COUNTS = "?disable_stats=true&enable_queue_totals=true"
COUNTED_S = 6.0


class BrokerTopology:
    def check(self, name: str, news: "Properties") -> tuple["Properties", list[tuple[str, str]]]:
        del name
        inputs = {key: value for key, value in news.items() if key not in OUTPUTS and value.value is not None}
        if "admin_password" in inputs:
            inputs["admin_password"] = inputs["admin_password"].with_secret(True)
        if "users" in inputs:
            inputs["users"] = _passwords_secret(inputs["users"])
        return inputs, failures(Topology, {key: plain(value) for key, value in inputs.items()})

    def diff(self, olds: "Properties", news: "Properties") -> api.DiffResponse:
        kinds = api.PropertyDiffKind
        names = changed(olds, news, INPUTS)
        shown = {
            name: api.PropertyDiff(kinds.UPDATE_REPLACE if name == "vhost" else kinds.UPDATE, True)
            for name in names
        }
        if "missing" in olds and plain(olds["missing"]):
            shown["missing"] = api.PropertyDiff(kinds.UPDATE, False)
        replaces = ["vhost"] if "vhost" in names else []
        return api.DiffResponse(
            changes=bool(shown), replaces=replaces, diffs=list(shown), detailed_diff=shown
        )

    def create(self, name: str, news: "Properties", work: "Work") -> tuple[str, "Properties"]:
        del name
        if work.preview:
            _show_plan(news, None, work)
            return "", _state(news, UNKNOWN, UNKNOWN)
        wanted = _topology(news)
        return wanted.vhost, self._converge(wanted, None, work, news, [])

    def update(self, identifier: str, olds: "Properties", news: "Properties", work: "Work") -> "Properties":
        del identifier
        before = _adopted(olds)
        if work.preview:
            _show_plan(news, olds, work)
            return _state(news, [], before)
        return self._converge(_topology(news), _topology(olds), work, news, before)

    def read(self, identifier: str, state: "Properties") -> "Properties | None":
        del identifier
        wanted = _topology(state)
        try:
            live = read_live(_management(wanted, LOOK_S), wanted)
            missing = [step.title for step in plan(wanted, live, titles(wanted))]
        except UnreachableError:
            # Its node may be down, which is drift of the node: the next update revives that first.
            missing = ["broker does not answer"]
        except ProblemError as error:
            missing = [str(error)]
        return _state(state, missing, _adopted(state))

    def delete(self, identifier: str, state: "Properties") -> None:
        del identifier
        old = _topology(state)
        management = _management(old, BOOT_S)
        kept = _adopted(state)
        _remove(management, old, None, kept)
        if "vhost" not in kept and _is_empty(read_live(management, old)):
            management.send("DELETE", ("vhosts", old.vhost))

    def _converge(
        self, wanted: Topology, old: Topology | None, work: "Work", news: "Properties", kept: list[str]
    ) -> "Properties":
        """Make live what is wanted; returns the new state. kept: what was adopted so far."""
        management = _management(wanted, BOOT_S, work)
        live = read_live(management, wanted)
        ours = {"vhost", *titles(old)} if old else set[str]()
        steps = plan(wanted, live, ours)
        if old:
            doomed(old, wanted, live, kept)
        kept = [*kept, *(title for title in adopted(wanted, live) if title not in ours)]
        try:
            _run(management, steps)
            if old:
                _remove(management, old, wanted, kept)
        except ProblemError as error:
            state = _state(news, ["an update did not end"], kept)
            raise PartialError(str(error), wanted.vhost, state) from error
        return _state(news, [], kept)


def read_live(management: Management, wanted: Topology) -> Live:
    """What is on the broker now. Raises UnreachableError when it does not answer."""
    vhost = wanted.vhost
    if management.get("vhosts", vhost) is None:
        return Live(users=_named(management.get("users")))
    return Live(
        vhost=True,
        exchanges=_named(management.get("exchanges", vhost)),
        queues=_named(management.get("queues", vhost, query=COUNTS)),
        bindings=management.get("bindings", vhost) or (),
        policies=_named(management.get("policies", vhost)),
        users=_named(management.get("users")),
        permissions={item["user"]: item for item in management.get("vhosts", vhost, "permissions") or ()},
    )


def _named(items: Any) -> Mapping[str, Any]:
    return {item["name"]: item for item in items or ()}


def _is_empty(live: Live) -> bool:
    others = [name for name in live.exchanges if name and not name.startswith("amq.")]
    return live.vhost and not live.queues and not others


def _run(management: Management, steps: list[Step]) -> None:
    for step in steps:
        try:
            management.send(step.method, step.path, step.body)
        except ProblemError as error:
            raise ProblemError(f"{step.title}: {error}") from error


def _remove(management: Management, old: Topology, wanted: Topology | None, kept: list[str]) -> None:
    """Delete what is wanted no longer; queues last seen empty, after nothing can be published to them.

    Raises ProblemError, with every queue and binding in place, when one holds messages.
    """
    live = read_live(management, old)
    queues = doomed(old, wanted, live, kept)
    _run(management, unbindings(old, wanted, live))
    if set(queues) - set((wanted or old).delete_non_empty):
        management.wait(COUNTED_S)
        try:
            queues = doomed(old, wanted, read_live(management, old), kept)
        except ProblemError:
            bound = [
                step
                for step in plan(old, read_live(management, old), titles(old))
                if step.path[0] == "bindings"
            ]
            _run(management, bound)
            raise
    _run(management, deletions(old, wanted, read_live(management, old), queues, kept))


def _show_plan(news: "Properties", olds: "Properties | None", work: "Work") -> None:
    """Tell what would change on the broker, when it is there and all inputs are known."""
    if has_unknown({name: plain(value) for name, value in news.items()}):
        return
    wanted = _topology(news)
    try:
        live = read_live(_management(wanted, LOOK_S, work), wanted)
    except UnreachableError:
        return  # its node is made in the same update
    steps = plan(wanted, live, titles(_topology(olds)) if olds else ())
    if olds:
        old, kept = _topology(olds), _adopted(olds)
        steps += [
            *unbindings(old, wanted, live),
            *deletions(old, wanted, live, doomed(old, wanted, live, kept), kept),
        ]
    if steps:
        work.tell("; ".join(step.title for step in steps))


def _management(wanted: Topology, patience_s: float, work: "Work | None" = None) -> Management:
    return Management(
        wanted.management_url,
        wanted.admin_user,
        wanted.admin_password,
        ca_certificate=wanted.ca_certificate,
        patience_s=patience_s,
        cancelled=work.cancelled if work else None,
    )


def _topology(values: "Properties") -> Topology:
    return Topology.model_validate({name: plain(values[name]) for name in INPUTS if name in values})


def _adopted(state: "Properties") -> list[str]:
    return list(plain(state["adopted"]))


def _state(values: "Properties", missing: Any, kept: Any) -> "Properties":
    state = {name: values[name] for name in INPUTS if name in values}
    return {**state, "missing": wrap(missing), "adopted": wrap(kept)}


def _passwords_secret(users: PropertyValue) -> PropertyValue:
    if not isinstance(users.value, tuple):
        return users
    marked = []
    for user in users.value:
        fields = user.value
        if isinstance(fields, Mapping) and "password" in fields:
            user = user.with_value({**fields, "password": fields["password"].with_secret(True)})  # noqa: PLW2901
        marked.append(user)
    return users.with_value(marked)
