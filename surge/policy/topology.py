"""What a fleet needs on its broker: names, queues, dead letters, and the least rights of each role."""

from collections.abc import Mapping
from typing import Any

__all__ = ["DEAD_LETTERS", "EVENT_QUEUES", "EXCHANGE", "VHOST", "of_filters", "users"]

VHOST = "surge"
EXCHANGE = "filters"
DEAD_LETTERS = "dead-letters"
# A queue each for the saturation servers that listen to the broker's events.
EVENT_QUEUES = "surge-saturation"

# A message that made five workers fail is the message's fault.
DELIVERY_LIMIT = 5


def of_filters(queues: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Exchanges, queues and bindings of a fleet, as the management API names their fields.

    queues: the queue of each filter, by the filter's name, which is the routing key.
    """
    return {
        "exchanges": [
            {"name": EXCHANGE, "type": "direct", "durable": True},
            {"name": DEAD_LETTERS, "type": "fanout", "durable": True},
        ],
        "queues": [
            {"name": DEAD_LETTERS, "type": "quorum", "arguments": {}},
            *({"name": queue, "type": "quorum", "arguments": _arguments()} for queue in queues.values()),
        ],
        "bindings": [
            {"source": DEAD_LETTERS, "destination": DEAD_LETTERS, "routing_key": ""},
            *(
                {"source": EXCHANGE, "destination": queue, "routing_key": name}
                for name, queue in queues.items()
            ),
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
}


def _arguments() -> dict[str, Any]:
    # At-least-once dead lettering needs a queue that refuses publishes when full instead of
    # dropping its head: nothing may vanish between the two queues.
    return {
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": DEAD_LETTERS,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
