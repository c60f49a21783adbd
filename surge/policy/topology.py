"""What a fleet needs on its broker: names, queues, dead letters, and the least rights of each role."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["DEAD_LETTERS", "EVENT_QUEUES", "EXCHANGE", "VHOST", "FilterQueue", "bell", "of_filters", "users"]

VHOST = "surge"
EXCHANGE = "filters"
DEAD_LETTERS = "dead-letters"
# A queue each for the saturation servers that listen to the broker's events.
EVENT_QUEUES = "surge-saturation"

# A message that made five workers fail is the message's fault.
DELIVERY_LIMIT = 5


@dataclass(frozen=True, kw_only=True)
class FilterQueue:
    """max_length: messages, more are refused. ttl_s: wall seconds a message may wait."""

    name: str
    delivery_limit: int = DELIVERY_LIMIT
    max_length: int | None = None
    ttl_s: float | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        # At-least-once dead lettering needs a queue that refuses publishes when full instead of
        # dropping its head: nothing may vanish between the two queues.
        arguments = {
            "x-delivery-limit": self.delivery_limit,
            "x-dead-letter-exchange": DEAD_LETTERS,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
        if self.max_length is not None:
            arguments["x-max-length"] = self.max_length
        if self.ttl_s is not None:
            arguments["x-message-ttl"] = max(1, round(1000 * self.ttl_s))
        return arguments


def bell(worker_set: str) -> str:
    """The queue that the workers of a set consume; each message of a member leaves a copy there."""
    return f"filter.{worker_set}"


def of_filters(
    queues: Mapping[str, FilterQueue], sets: Mapping[str, Sequence[str]] | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Exchanges, queues and bindings of a fleet, as the management API names their fields.

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
            *(
                {"name": queue.name, "type": "quorum", "arguments": queue.arguments}
                for queue in queues.values()
            ),
            # A copy that nobody could use is no loss: no dead letters, no limit.
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
    }


def users(passwords: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The roles among `passwords`, each with the least it needs: patterns of names it may touch."""
    return [{"name": role, "password": password, **RIGHTS[role]} for role, password in passwords.items()]


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
