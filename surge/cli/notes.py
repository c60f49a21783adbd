"""What is known of a stack for as long as its state is the same, byte for byte.

A refresh that found something, or any other update, has written another state.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from surge.cli.stacks import is_kept_here, state_file

__all__ = ["CURRENT", "FACTS", "note", "note_files", "noted", "state_digest"]

CURRENT, FACTS = "current", "facts"


def state_digest(root: Path, stack: str) -> str | None:
    """Return a digest of the stack's state; None for one that lies elsewhere, or nowhere."""
    if not is_kept_here(root, stack):
        return None
    return sha256(state_file(root, stack).read_bytes()).hexdigest()


def note(root: Path, stack: str, what: str, content: Any, *, state: str | None) -> None:
    """Note `content`, as JSON and in clear. state: what it is true of; nothing is noted of None."""
    if state is not None:
        _file(root, stack, what).write_text(json.dumps([state, content]))


def noted(root: Path, stack: str, what: str) -> Any:
    """Return what was noted of the present state; None when that is nothing."""
    try:
        state, content = json.loads(_file(root, stack, what).read_text())
    except (FileNotFoundError, ValueError, TypeError):
        return None  # never noted, or not by this version
    return content if state == state_digest(root, stack) else None


def note_files(root: Path, stack: str) -> list[Path]:
    return [_file(root, stack, what) for what in (CURRENT, FACTS)]


def _file(root: Path, stack: str, what: str) -> Path:
    return root / ".surge" / f"{what}-{stack}"
