"""Whether a fleet's own stack has to be looked at again, or nothing that it is made from has changed.

A changed image is a change of one shard; the stack itself has 200 resources that it does not touch.
"""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from surge.cli.notes import CURRENT, note, noted, state_digest
from surge.model import Catalogue, Settings

__all__ = ["OF_SHARDS", "base_digest", "is_current", "remember"]

# What a filter is alone, and the queues, the metric server and the classes need not know.
OF_SHARDS = {"image", "model", "gpu", "gpus", "owner", "priority", "target"}
SOURCES = ("*.py", "*.yaml", "*.mod", "*.work", "requirements.txt")
ELSEWHERE = {"build", "docs", "tests"}


def base_digest(root: Path, settings: Settings, catalogue: Catalogue, shards: int) -> str:
    """Return a digest of all that the stack is made from, the program included."""
    found = sha256(f"{shards}\0{settings.model_dump_json()}".encode())
    for item in catalogue.filters:
        found.update(item.model_dump_json(exclude=OF_SHARDS).encode())
    for file in _sources(root, root / settings.catalogue):
        found.update(f"\0{file.relative_to(root)}\0".encode() + file.read_bytes())
    return found.hexdigest()


def remember(root: Path, stack: str, digest: str) -> None:
    """Note that the stack's state is what `digest` asks for."""
    note(root, stack, CURRENT, digest, state=state_digest(root, stack))


def is_current(root: Path, stack: str, digest: str) -> bool:
    """Whether `remember` was called with this digest, and the state is byte for byte what it was then.

    False for a state that lies elsewhere.
    """
    return noted(root, stack, CURRENT) == digest


def _sources(root: Path, catalogue: Path) -> Iterator[Path]:
    """Every file of the program. The settings are in the digest as they were read."""
    for entry in sorted(root.iterdir()):
        if entry.name.startswith((".", "Pulumi.")) or entry.name in ELSEWHERE or entry == catalogue:
            continue
        if entry.is_dir():
            yield from sorted(file for pattern in SOURCES for file in entry.rglob(pattern))
        elif any(entry.match(pattern) for pattern in SOURCES):
            yield entry
