"""Files and folders of a cluster's directory: ours only, 0600 and 0700, all or nothing."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from .problems import ProblemError

__all__ = ["OWNER", "claim", "demand_ours", "release", "remove_tree", "write", "write_all"]

OWNER = ".surge-owner"


def demand_ours(directory: Path) -> None:
    """Raise ProblemError when the directory holds something that is not ours."""
    if directory.exists() and not directory.is_dir():
        raise ProblemError(f"{directory} is a file: a cluster needs a directory there. Move it away")
    if not directory.is_dir():
        return
    foreign = sorted(item.name for item in directory.iterdir())
    # Looked at last: whoever claims it meanwhile makes the mark before anything that was listed.
    if foreign and not (directory / OWNER).exists():
        raise ProblemError(
            f"{directory} holds {', '.join(foreign[:3])} and no {OWNER}: not made by surge, and a "
            f"later destroy would remove files in it. "
            f"Look at it with `ls -la {directory}`; move it away, or name the "
            "cluster differently (cluster.name in surge:settings)"
        )


def claim(directory: Path) -> None:
    """Make the directory and mark it as ours. Raises ProblemError when that is not possible."""
    demand_ours(directory)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (directory / OWNER).exists():
            directory.chmod(0o700)
            (directory / OWNER).touch(mode=0o600)
    except OSError as error:
        raise ProblemError(_cannot(directory, error)) from error


def release(directory: Path) -> None:
    """Take our mark away; remove the directory when nothing of others is in it."""
    try:
        (directory / OWNER).unlink(missing_ok=True)
        directory.rmdir()
    except OSError:
        return  # others keep files here, or it is gone


def write_all(folder: Path, files: Mapping[str, str], stale: Iterable[str] = ()) -> None:
    """Write files below `folder`, drop the stale ones. A folder that is new goes away again on failure."""
    new = not folder.exists()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in files.items():
            write(_below(folder, name), content)
        for name in stale:
            _below(folder, name).unlink(missing_ok=True)
    except OSError as error:
        if new:
            remove_tree(folder)
        raise ProblemError(_cannot(folder, error)) from error


def write(path: Path, content: str) -> None:
    """Replace the file atomically, 0600. Unchanged content leaves it alone. Raises OSError."""
    try:
        if path.read_text(encoding="utf-8") == content:
            return
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".surge-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
        Path(draft).replace(path)
    except OSError:
        Path(draft).unlink(missing_ok=True)
        raise


def remove_tree(folder: Path) -> None:
    """Remove a folder of ours; gone is fine."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ProblemError(
            f"{folder} cannot be removed: {error.strerror} ({error.filename}). "
            f"Remove what is in the way, then destroy again"
        ) from error


def _below(folder: Path, name: str) -> Path:
    """The path of a file; a symbolic link on the way may not lead out of the folder."""
    path = folder / name
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise ProblemError(f"{path} leads out of {folder} by a symbolic link: nothing was written there")
    return path


def _cannot(path: Path, error: OSError) -> str:
    return (
        f"{path} cannot be written: {error.strerror} ({error.filename}). "
        f"Look at `df -h {path.parent}` and `ls -ld {path.parent}`, then run the update again"
    )
