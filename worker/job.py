"""What a handler is given."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from pika.spec import Basic, BasicProperties

__all__ = ["Job"]


@dataclass(frozen=True)
class Job:
    """One message of `filter`. delivery_count: how often a worker has failed at it (quorum queues count)."""

    body: bytes
    message_id: str
    headers: Mapping[str, Any]
    redelivered: bool
    delivery_count: int
    filter: str = ""

    @classmethod
    def of(
        cls, method: Basic.Deliver | Basic.GetOk, properties: BasicProperties, body: bytes, of_filter: str
    ) -> Self:
        headers: Mapping[str, Any] = properties.headers or {}
        count = headers.get("x-delivery-count", 0)
        return cls(
            body=body,
            message_id=properties.message_id or "",
            headers=headers,
            redelivered=bool(method.redelivered),
            delivery_count=count if isinstance(count, int) else 0,
            filter=of_filter,
        )
