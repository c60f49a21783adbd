"""From a wanted topology and the live one to the steps between them; pure."""

import base64
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .problems import ProblemError
from .topology_inputs import Binding, Exchange, Policy, Queue, Topology, User

__all__ = [
    "Live",
    "Step",
    "Topology",
    "adopted",
    "deletions",
    "doomed",
    "matches",
    "plan",
    "titles",
    "unbindings",
]

# Where a person allows what is refused here.
SETTINGS = "surge:settings in Pulumi.<stack>.yaml"


@dataclass(frozen=True)
class Live:
    """What the API answered: objects by name; bindings as a list."""

    vhost: bool = False
    exchanges: Mapping[str, Any] = field(default_factory=dict)
    queues: Mapping[str, Any] = field(default_factory=dict)
    bindings: Sequence[Any] = ()
    policies: Mapping[str, Any] = field(default_factory=dict)
    users: Mapping[str, Any] = field(default_factory=dict)
    permissions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One request. title: for people, such as `create queue a`; body may hold a secret."""

    title: str
    method: str
    path: tuple[str, ...]
    body: Any = field(default=None, repr=False)


def plan(wanted: Topology, live: Live, ours: Collection[str] = ()) -> list[Step]:
    """The requests that make or mend what is wanted. What is equal already needs none.

    ours: titles of what may be changed, such as `user worker`, beside those in wanted.adopt.
    Raises ProblemError for what RabbitMQ cannot change in place, and for what others have made differently.
    """
    _demand_ours(wanted, live, {*ours, *wanted.adopt})
    steps: list[Step] = []
    vhost = wanted.vhost
    if not live.vhost:
        steps.append(Step(f"create vhost {vhost}", "PUT", ("vhosts", vhost), {}))
    if wanted.admin_user not in live.permissions:
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        path = ("permissions", vhost, wanted.admin_user)
        steps.append(Step(f"let {wanted.admin_user} into {vhost}", "PUT", path, everything))
    # Before the queues: none is without its limits for a moment.
    for policy in wanted.policies:
        steps += _policy(vhost, policy, live)
    for exchange in wanted.exchanges:
        steps += _exchange(vhost, exchange, live.exchanges.get(exchange.name))
    for queue in wanted.queues:
        steps += _queue(vhost, queue, live.queues.get(queue.name))
    for binding in wanted.bindings:
        if not any(_same_binding(binding, item) for item in live.bindings):
            body = {"routing_key": binding.routing_key, "arguments": binding.arguments}
            path = ("bindings", vhost, "e", binding.source, "q", binding.destination)
            steps.append(Step(f"create binding {_title(binding)}", "POST", path, body))
    for user in wanted.users:
        steps += _user(vhost, user, live)
    return steps


def adopted(wanted: Topology, live: Live) -> list[str]:
    """Titles of what is wanted and was there before us: it is managed, and never deleted."""
    there = ["vhost"] if live.vhost else []
    for kind, items, found in _kinds(wanted, live):
        there += [f"{kind} {item.name}" for item in items if item.name in found]
    return there


def doomed(old: Topology, wanted: Topology | None, live: Live, kept: Collection[str]) -> list[str]:
    """The queues that `old` had and `wanted` has not (None: all), without the `kept` ones.

    kept: titles. Raises ProblemError when one of them holds messages and is not named in delete_non_empty.
    """
    names = [
        name
        for name in _gone(old.queues, wanted.queues if wanted else [])
        if name in live.queues and f"queue {name}" not in kept
    ]
    _demand_empty(names, live, set((wanted or old).delete_non_empty))
    return names


def unbindings(old: Topology, wanted: Topology | None, live: Live) -> list[Step]:
    """The requests that take away the bindings that `old` had and `wanted` has not. Nobody else's."""
    keep = wanted.bindings if wanted else []
    return [
        Step(
            f"delete binding {_title(binding)}",
            "DELETE",
            ("bindings", old.vhost, "e", binding.source, "q", binding.destination, item["properties_key"]),
        )
        for binding in old.bindings
        if binding not in keep
        for item in live.bindings
        if _same_binding(binding, item)
    ]


def deletions(
    old: Topology, wanted: Topology | None, live: Live, queues: Sequence[str], kept: Collection[str]
) -> list[Step]:
    """The requests that delete these queues, and all else that `old` had and `wanted` has not."""
    vhost = old.vhost
    steps = [Step(f"delete queue {name}", "DELETE", ("queues", vhost, name)) for name in queues]
    keep = wanted or old.model_copy(update={"exchanges": [], "policies": [], "users": []})
    of_keep = {kind: items for kind, items, _ in _kinds(keep, live)}
    paths = {"exchange": ("exchanges", vhost), "policy": ("policies", vhost), "user": ("users",)}
    for kind, items, found in _kinds(old, live):
        if kind in paths:
            steps += [
                Step(f"delete {kind} {name}", "DELETE", (*paths[kind], name))
                for name in _gone(items, of_keep[kind])
                if name in found and f"{kind} {name}" not in kept
            ]
    return steps


def titles(of: Topology) -> set[str]:
    """What the topology names, such as `queue a`."""
    return {f"{kind} {item.name}" for kind, items, _ in _kinds(of, Live()) for item in items}


def _kinds(of: Topology, live: Live) -> list[tuple[str, Sequence[Any], Mapping[str, Any]]]:
    return [
        ("exchange", of.exchanges, live.exchanges),
        ("queue", of.queues, live.queues),
        ("policy", of.policies, live.policies),
        ("user", of.users, live.users),
    ]


def _demand_ours(wanted: Topology, live: Live, ours: Collection[str]) -> None:
    changes = {
        f"{kind} {item.name}": [step.title for step in change(item) if not _adds(step, live)]
        for kind, items, found, change in (
            ("user", wanted.users, live.users, lambda item: _user(wanted.vhost, item, live)),
            ("policy", wanted.policies, live.policies, lambda item: _policy(wanted.vhost, item, live)),
        )
        for item in items
        if item.name in found
    }
    foreign = {title: steps for title, steps in changes.items() if steps and title not in ours}
    if foreign:
        steps = "; ".join(step for each in foreign.values() for step in each)
        names = ", ".join(f'"{title}"' for title in foreign)
        raise ProblemError(
            f"{' and '.join(foreign)} in vhost {wanted.vhost}: there already, not of our making, and other "
            f"than wanted ({steps}). Somebody may rely on it, so nothing was changed. Choose another name; "
            f"or, to take it over, put `broker: {{adopt: [{names}]}}` under {SETTINGS} and update again"
        )


def _adds(step: Step, live: Live) -> bool:
    """Whether the step gives a user rights where it has none; nobody can rely on their absence."""
    return step.path[0] == "permissions" and step.path[-1] not in live.permissions


def _policy(vhost: str, policy: Policy, live: Live) -> list[Step]:
    body = {
        "pattern": policy.pattern,
        "apply-to": policy.apply_to,
        "definition": policy.definition,
        "priority": policy.priority,
    }
    path = ("policies", vhost, policy.name)
    found = live.policies.get(policy.name)
    if found is None:
        return [Step(f"create policy {policy.name}", "PUT", path, body)]
    differ = [f"{key}: {found[key]!r} -> {value!r}" for key, value in body.items() if found[key] != value]
    return [Step(f"update policy {policy.name} ({'; '.join(differ)})", "PUT", path, body)] if differ else []


def matches(password: str, password_hash: str) -> bool:
    """Whether a hash of RabbitMQ's (base64 of 4 bytes of salt and SHA-256 of salt + password) is of it."""
    raw = base64.b64decode(password_hash)
    return hashlib.sha256(raw[:4] + password.encode()).digest() == raw[4:]


def _exchange(vhost: str, exchange: Exchange, live: Any) -> list[Step]:
    body = {"type": exchange.type, "durable": exchange.durable, "arguments": exchange.arguments}
    if live is None:
        return [Step(f"create exchange {exchange.name}", "PUT", ("exchanges", vhost, exchange.name), body)]
    _demand_equal("exchange", exchange.name, vhost, body, {key: live[key] for key in body})
    return []


def _queue(vhost: str, queue: Queue, live: Any) -> list[Step]:
    body = {"durable": True, "arguments": {**queue.arguments, "x-queue-type": queue.type}}
    if live is None:
        return [Step(f"create queue {queue.name}", "PUT", ("queues", vhost, queue.name), body)]
    arguments = {key: value for key, value in live["arguments"].items() if key != "x-queue-type"}
    wanted = {"type": queue.type, "durable": True, **queue.arguments}
    _demand_equal(
        "queue",
        queue.name,
        vhost,
        wanted,
        {"type": live.get("type", "classic"), "durable": live["durable"], **arguments},
    )
    return []


def _user(vhost: str, user: User, live: Live) -> list[Step]:
    steps = []
    found = live.users.get(user.name)
    equal = (
        found is not None
        and sorted(_tags(found)) == sorted(user.tags)
        and matches(user.password, found["password_hash"])
    )
    if not equal:
        verb = "create" if found is None else "update"
        body = {"password": user.password, "tags": ",".join(user.tags)}
        steps.append(Step(f"{verb} user {user.name}", "PUT", ("users", user.name), body))
    rights = user.permissions.model_dump()
    seen = live.permissions.get(user.name)
    if seen is None or any(seen[key] != value for key, value in rights.items()):
        path = ("permissions", vhost, user.name)
        steps.append(Step(f"set permissions of {user.name} on {vhost}", "PUT", path, rights))
    return steps


def _tags(user: Any) -> list[str]:
    tags = user["tags"]
    return [tag for tag in tags.split(",") if tag] if isinstance(tags, str) else list(tags)


def _demand_equal(kind: str, name: str, vhost: str, wanted: dict[str, Any], live: dict[str, Any]) -> None:
    differ = [
        f"{key}: {live.get(key)!r} -> {wanted.get(key)!r}"
        for key in sorted(wanted.keys() | live.keys())
        if wanted.get(key) != live.get(key)
    ]
    if differ:
        raise ProblemError(
            f"{kind} {name} in vhost {vhost} exists with other properties ({'; '.join(differ)}), and "
            f"RabbitMQ cannot change them in place. Give the new {kind} another name and drain the "
            f"old one, or, once it is not needed, delete it: "
            f"`rabbitmqadmin -V {vhost} delete {kind} name={name}`"
        )


def _demand_empty(queues: Sequence[str], live: Live, allowed: set[str]) -> None:
    full = {name: live.queues[name].get("messages", 0) for name in queues if name not in allowed}
    problems = [f"queue {name} holds {count} messages" for name, count in full.items() if count]
    if problems:
        names = ", ".join(f'"{name}"' for name, count in full.items() if count)
        raise ProblemError(
            f"{'; '.join(problems)}: deleting would lose them, so nothing was deleted. Let its consumers "
            f"drain it; or, to lose them on purpose, put `broker: {{delete-non-empty: [{names}]}}` under "
            f"{SETTINGS}, update, and delete again"
        )


def _gone(olds: Sequence[Any], news: Sequence[Any]) -> list[str]:
    kept = {item.name for item in news}
    return [item.name for item in olds if item.name not in kept]


def _same_binding(binding: Binding, live: Any) -> bool:
    return (
        live["source"] == binding.source
        and live["destination"] == binding.destination
        and live["destination_type"] == "queue"
        and live["routing_key"] == binding.routing_key
        and live["arguments"] == binding.arguments
    )


def _title(binding: Binding) -> str:
    return f"{binding.source} -> {binding.destination} ({binding.routing_key!r})"
