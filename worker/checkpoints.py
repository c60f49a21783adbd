"""How far long jobs have come, on a volume that all workers of the filter mount."""

import hashlib
from pathlib import Path

from worker.files import write_whole

__all__ = ["CheckpointError", "Checkpoints"]

DIGEST = 32


class CheckpointError(Exception):
    """There is no volume to keep checkpoints on; says what to set."""


class Checkpoints:
    """One file per job, its state behind the state's digest. Raises OSError when the volume fails.

    The last to write wins: where two workers hold the same message, either may go on from the other's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, key: str, state: bytes) -> None:
        """The file has the old state or the new one, never a part."""
        write_whole(self._folder / key, hashlib.sha256(state).digest() + state)

    def load(self, key: str) -> bytes | None:
        """None where there is no state, or a damaged one: the job begins anew."""
        try:
            content = (self._folder / key).read_bytes()
        except FileNotFoundError:
            return None
        digest, state = content[:DIGEST], content[DIGEST:]
        return state if hashlib.sha256(state).digest() == digest else None

    def drop(self, key: str) -> None:
        (self._folder / key).unlink(missing_ok=True)
