"""What a fleet needs on its broker: names, queues, dead letters, and the least rights of each role."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ARGUMENTS",
    "DEAD_LETTERS",
    "EVENT_QUEUES",
    "EXCHANGE",
    "VHOST",
    "FilterQueue",
    "bell",
    "of_filters",
    "user_name",
    "users",
]

VHOST = "surge"
EXCHANGE = "filters"
DEAD_LETTERS = "dead-letters"
# A queue each for the saturation servers that listen to the broker's events.
EVENT_QUEUES = "surge-saturation"

# A message that made five workers fail is the message's fault.
DELIVERY_LIMIT = 5
NEVER = 1_000_000

# Of a filter's queue, for good: RabbitMQ changes no argument of a queue that lives. At-least-once dead
# lettering needs a queue that refuses publishes when full instead of dropping its head: nothing may vanish
# between the two queues.
ARGUMENTS = {
    "x-dead-letter-exchange": DEAD_LETTERS,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}


@dataclass(frozen=True, kw_only=True)
class FilterQueue:
    """max_length: messages, more are refused. ttl_s: wall seconds a message may wait."""

    name: str
    delivery_limit: int = DELIVERY_LIMIT
    max_length: int | None = None
    ttl_s: float | None = None

    @property
    def limits(self) -> dict[str, int]:
        """The part of a policy's definition: it may change while the queue lives."""
        limits = {"delivery-limit": self.delivery_limit}
        if self.max_length is not None:
            limits["max-length"] = self.max_length
        if self.ttl_s is not None:
            limits["message-ttl"] = max(1, round(1000 * self.ttl_s))
        return limits


def bell(worker_set: str) -> str:
    """The queue that the workers of a set consume; each message of a member leaves a copy there."""
    return f"filter.{worker_set}"


def of_filters(
    queues: Mapping[str, FilterQueue], sets: Mapping[str, Sequence[str]] | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Exchanges, queues, bindings and policies of a fleet, as the management API names their fields.

    queues: the queue of each filter, by the filter's name, which is the routing key. sets: the members
    of each worker set.
    """
    rings = [(bell(name), member) for name, members in (sets or {}).items() for member in members]
    return {
        "exchanges": [
            {"name": EXCHANGE, "type": "direct", "durable": True},
            {"name": DEAD_LETTERS, "type": "fanout", "durable": True},
        ],
        "queues": [
            {"name": DEAD_LETTERS, "type": "quorum", "arguments": {}},
            *({"name": queue.name, "type": "quorum", "arguments": ARGUMENTS} for queue in queues.values()),
            # A copy that nobody could use is no loss: no dead letters.
            *({"name": bell(name), "type": "quorum", "arguments": {}} for name in sets or {}),
        ],
        "bindings": [
            {"source": DEAD_LETTERS, "destination": DEAD_LETTERS, "routing_key": ""},
            *(
                {"source": EXCHANGE, "destination": queue.name, "routing_key": name}
                for name, queue in queues.items()
            ),
            *({"source": EXCHANGE, "destination": queue, "routing_key": key} for queue, key in rings),
        ],
        "policies": [*_policies(queues.values(), [bell(name) for name in sets or {}])],
    }


def _policies(queues: Collection[FilterQueue], bells: Collection[str]) -> Iterator[dict[str, Any]]:
    """One for all filters; above it one for each with other limits, and one that frees the bells."""
    usual = FilterQueue(name="filters")
    yield _policy(0, usual.name, r"^filter\.", usual.limits)
    for queue in queues:
        if queue.limits != usual.limits:
            yield _policy(1, queue.name, f"^{re.escape(queue.name)}$", queue.limits)
    # Each look at a dead letter is a delivery.
    yield _policy(0, DEAD_LETTERS, f"^{DEAD_LETTERS}$", {"delivery-limit": NEVER})
    if bells:
        pattern = f"^({'|'.join(re.escape(name) for name in bells)})$"
        yield _policy(2, "bells", pattern, {"delivery-limit": NEVER})


def _policy(priority: int, name: str, pattern: str, definition: Mapping[str, int]) -> dict[str, Any]:
    return {
        "name": name,
        "pattern": pattern,
        "apply_to": "queues",
        "definition": dict(definition),
        "priority": priority,
    }


def user_name(role: str, cluster: str) -> str:
    """Each cluster has users of its own on a broker that serves several: one can be locked out alone."""
    return f"{role}.{cluster}"


def users(passwords: Mapping[str, Any], cluster: str) -> list[dict[str, Any]]:
    """The roles among `passwords`, each with the least it needs: patterns of names it may touch."""
    return [
        {"name": user_name(role, cluster), "password": password, **RIGHTS[role]}
        for role, password in passwords.items()
    ]


RIGHTS: dict[str, dict[str, Any]] = {
    "worker": {"tags": [], "permissions": {"configure": "", "write": "", "read": r"^filter\..*"}},
    "publisher": {"tags": [], "permissions": {"configure": "", "write": f"^{EXCHANGE}$", "read": ""}},
    # `management` lets it list the vhost's queues over HTTP; what asks a queue for its state and what
    # touches a message need a permission, and it has one for its own queue of broker events alone.
    "saturation": {
        "tags": ["management"],
        "permissions": {
            "configure": rf"^{EVENT_QUEUES}\.",
            "write": rf"^{EVENT_QUEUES}\.",
            "read": rf"^({EVENT_QUEUES}\.|amq\.rabbitmq\.event$)",
        },
    },
    # `monitoring` lets it list everybody's connections and channels; it touches nothing.
    "scale-in": {"tags": ["monitoring"], "permissions": {"configure": "", "write": "", "read": ""}},
}
