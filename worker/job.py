"""What a handler is given, and what it may ask of it."""

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pika.spec import Basic, BasicProperties

from worker.checkpoints import CheckpointError, Checkpoints
from worker.idempotency import key_of

__all__ = ["HandBack", "Job"]

DEADLINE_HEADER = "deadline-us"


class HandBack(Exception):  # noqa: N818 -- not a fault: the job goes back to the queue, unfinished
    """Raised by a handler: save what is done before, and another worker goes on from there."""


@dataclass(frozen=True)
class Job:
    """One message of `filter`. delivery_count: how often a worker has failed at it (quorum queues count).

    key: tells the job apart, whichever worker has it. deadline: unix time by which it should be done,
    from the header `deadline-us` (whole microseconds), else from the filter's longest job.
    """

    body: bytes
    message_id: str
    headers: Mapping[str, Any]
    redelivered: bool
    delivery_count: int
    filter: str = ""
    key: str = ""
    deadline: float = math.inf
    checkpoints: Checkpoints | None = field(default=None, repr=False, compare=False)
    _recalled: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    @classmethod
    def of(
        cls, method: Basic.Deliver | Basic.GetOk, properties: BasicProperties, body: bytes, of_filter: str
    ) -> Self:
        headers: Mapping[str, Any] = properties.headers or {}
        count = headers.get("x-delivery-count", 0)
        deadline_us = headers.get(DEADLINE_HEADER)
        message_id = properties.message_id or ""
        return cls(
            body=body,
            message_id=message_id,
            headers=headers,
            redelivered=bool(method.redelivered),
            delivery_count=count if isinstance(count, int) else 0,
            filter=of_filter,
            key=key_of(message_id, headers, body),
            deadline=deadline_us / 1e6 if isinstance(deadline_us, int) else math.inf,
        )

    @property
    def left_s(self) -> float:
        """Seconds to the deadline; negative after it."""
        return self.deadline - time.time()

    @property
    def wanted_back(self) -> bool:
        """The worker has to go before this job is done: checkpoint, and raise HandBack. Look often."""
        return self._recalled.is_set()

    def checkpoint(self, state: bytes) -> None:
        """Save how far the job has come. Raises CheckpointError without SURGE_SHARED, OSError."""
        self._desk().save(self.key, state)

    def resume(self) -> bytes | None:
        """The last checkpoint of this job, whoever saved it; None to begin. Raises like checkpoint."""
        return self._desk().load(self.key)

    def recall(self) -> None:
        """Called by the worker at its stop."""
        self._recalled.set()

    def _desk(self) -> Checkpoints:
        if self.checkpoints is None:
            raise CheckpointError(
                "SURGE_SHARED is not set, so a checkpoint would die with this pod: mount a volume that "
                "all workers of the filter share, and set SURGE_SHARED to its folder"
            )
        return self.checkpoints
