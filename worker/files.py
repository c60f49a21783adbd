"""Files that others read while we write: whole or not there, also after a crash."""

import os
import time
from pathlib import Path

__all__ = ["sweep", "sync", "write_whole"]


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one step; readers see the old file or the new one. Raises OSError."""
    # A name of its own: two workers may be at the same job.
    part = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """What the file or folder holds now is on the disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path, keep_s: float) -> None:
    """Remove the files of `folder` that nobody has written for `keep_s`. Raises OSError."""
    end = time.time() - keep_s
    for path in folder.iterdir():
        try:
            if path.stat().st_mtime < end:
                path.unlink()
        except FileNotFoundError:
            continue  # another worker sweeps too
