"""A pair on one card: the trainer hands its files to the inferer through the volume that both mount.

    with pair.hand_over() as folder:            # in the trainer
        train().save(folder / "lora.safetensors")

    model = load(pair.take(deadline_s=600).folder)   # in the inferer's warm_up

The trainer may run first, as an init container, or beside the inferer; neither side can tell.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from worker.files import sync, write_whole

__all__ = ["HandOver", "HandOverError", "hand_over", "handed_over", "take"]

MARKER = "ready.json"
PREFIX = "files-"
POLL_S = 0.2


class HandOverError(Exception):
    """There is nothing to take, or not what the trainer left; says what was seen, and where to look."""


@dataclass(frozen=True)
class HandOver:
    """folder: the files as the trainer left them. digest: of all of them; tells hand-overs apart."""

    folder: Path
    digest: str


@contextmanager
def hand_over(root: Path | None = None) -> Iterator[Path]:
    """A new folder to write into; what it holds at the end of the block is handed over, all or nothing.

    root: the shared volume; SURGE_HANDOVER unless given. The hand-over before this one stays, as an
    inferer may be reading it; older ones and what a dead trainer left are removed.
    """
    root = root or _shared()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
    folder.chmod(0o755)  # the inferer may be another user
    try:
        yield folder
        before = _publish(root, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    kept = {folder, before.folder if before else folder}
    for old in root.glob(f"{PREFIX}*"):
        if old not in kept:
            shutil.rmtree(old, ignore_errors=True)


def handed_over(root: Path | None = None) -> HandOver | None:
    """The last hand-over, unread; a trainer that was restarted need not train again. None without one."""
    root = root or _shared()
    marker = _marker(root)
    return None if marker is None else _named(root, *marker)


def take(root: Path | None = None, *, deadline_s: float, after: str = "") -> HandOver:
    """Wait for a hand-over, check every byte of it, and return it.

    after: the digest of the last one taken, to wait for the next. Raises HandOverError when none
    came in `deadline_s`, or when a file is not what the marker says.
    """
    root = root or _shared()
    end = time.monotonic() + deadline_s
    while True:
        marker = _marker(root)
        if marker is not None and (found := _named(root, *marker)).digest != after:
            wrong = _wrong(found.folder, marker[1])
            if not wrong:
                return found
            if _marker(root) == marker:  # otherwise the trainer has handed over anew meanwhile
                raise HandOverError(
                    f"{found.folder} is not what the trainer handed over: {'; '.join(wrong)}. "
                    "It would serve a broken model. Restart the pod: kubectl delete pod NAME"
                )
        elif time.monotonic() > end:
            raise HandOverError(_none_came(root, deadline_s))
        time.sleep(POLL_S)


def _publish(root: Path, folder: Path) -> HandOver | None:
    """Name `folder` in the marker; return the hand-over before."""
    files = _digests(folder)
    if not files:
        raise HandOverError(f"the trainer left no file in {folder}: there is nothing to hand over")
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)
    before = handed_over(root)
    marker = {"folder": folder.name, "files": files}
    write_whole(root / MARKER, json.dumps(marker, sort_keys=True).encode())
    return before


def _shared() -> Path:
    return Path(os.environ.get("SURGE_HANDOVER") or "/var/surge/handover")


def _marker(root: Path) -> tuple[str, Mapping[str, str]] | None:
    """(folder, digest of each file by its path)."""
    try:
        document = json.loads((root / MARKER).read_text())
    except FileNotFoundError:
        return None
    return document["folder"], document["files"]


def _named(root: Path, folder: str, files: Mapping[str, str]) -> HandOver:
    listed = json.dumps([folder, files], sort_keys=True).encode()
    return HandOver(root / folder, hashlib.sha256(listed).hexdigest())


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): _digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _wrong(folder: Path, files: Mapping[str, str]) -> list[str]:
    wrong: list[str] = []
    for name, digest in files.items():
        try:
            if _digest(folder / name) != digest:
                wrong.append(f"{name} has other bytes")
        except OSError as error:
            wrong.append(f"{name}: {error.strerror}")
    return wrong


def _none_came(root: Path, deadline_s: float) -> str:
    begun = sum(1 for folder in root.glob(f"{PREFIX}*") for path in folder.rglob("*") if path.is_file())
    seen = f"{begun} files that no {MARKER} names: it is still at work, or died" if begun else "no file of it"
    return (
        f"no hand-over of the trainer in {root} after {deadline_s:g} s; there is {seen}. "
        "Look what it says: kubectl logs POD -c trainer"
    )
