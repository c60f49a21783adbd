"""The key of a job, and where finished ones are remembered, so that a redelivered one is not done again.

At least once remains at least once: a worker that dies between the end of a job and its record leaves
it to be done again, and two workers that hold the same message at once (a cut network: the broker has
given it to the second while the first still works) may both do it. Write results under the key.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from worker.files import write_whole

__all__ = ["Finished", "FinishedFiles", "key_of"]


class Finished(Protocol):
    """Remembers jobs by their key. Called in threads.

    OSError of `has` fails the job; that of `add` is logged, and the job is acked without a record.
    """

    def has(self, key: str) -> bool: ...

    def add(self, key: str) -> None: ...


def key_of(message_id: str, headers: Mapping[str, Any], body: bytes) -> str:
    """64 hex digits: of the message id where there is one, else of the headers and the body.

    Headers that the broker writes (x-...) differ between two deliveries, and do not count. Two messages
    without id that are the same in all of this are the same job.
    """
    if message_id:
        return hashlib.sha256(b"id:" + message_id.encode()).hexdigest()
    own = {name: value for name, value in headers.items() if not name.startswith("x-")}
    told = json.dumps(own, sort_keys=True, default=repr).encode()
    return hashlib.sha256(b"body:%d:" % len(told) + told + body).hexdigest()


class FinishedFiles:
    """An empty file per job in `folder`, on a volume that all workers of the filter mount."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def has(self, key: str) -> bool:
        return (self._folder / key).exists()

    def add(self, key: str) -> None:
        write_whole(self._folder / key, b"")
