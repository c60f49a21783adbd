"""What a program changed, and what drifted on the cluster.

A change is a difference between the inputs of the last run and the program's: what the
server filled in never shows. Drift reaches the old inputs when the object is read
(`drifted`), and is then a change like any other.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from .wire import UNKNOWN, Value

__all__ = ["Change", "Path", "changes", "drifted", "path_text", "under"]

Path = tuple[str | int, ...]
Operation = Literal["add", "update", "delete"]
MISSING = object()


class Change(NamedTuple):
    path: Path
    operation: Operation
    replaces: bool


def changes(old: Value, new: Value, force_new: tuple[str, ...]) -> list[Change]:
    """Each property that differs; force_new: dotted paths (without list indexes) that replace the object."""
    patterns = [tuple(pattern.split(".")) for pattern in force_new]
    return [
        Change(path, operation, any(_touches(path, pattern, value) for pattern in patterns))
        for path, operation, value in _differences((), old, new)
    ]


def drifted(inputs: Value, before: Value, now: Value) -> Value:
    """The inputs as the cluster has them now.

    inputs: what was applied; before, now: the live value after that, and as read.
    Where the live value did not change, the input stands as the program wrote it ("1000m" though the
    server keeps "1"). Items that others added to a list of named objects are not ours, and are left out.
    """
    if now in (before, inputs):
        return inputs
    if isinstance(inputs, dict) and isinstance(now, dict):
        was = before if isinstance(before, dict) else {}
        kept = {}
        for key, value in inputs.items():
            # A field the server never shows (stringData, an empty map it drops) cannot drift.
            if key in now or (key not in was and isinstance(before, dict)):
                kept[key] = drifted(value, was.get(key, MISSING), now[key]) if key in now else value
        return kept
    if isinstance(inputs, list) and isinstance(now, list):
        return _drifted_list(inputs, before if isinstance(before, list) else [], now)
    return now


def path_text(path: Path) -> str:
    """`spec.containers[0].image`, `metadata.annotations["a.b/c"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif any(sign in part for sign in '."[]'):
            quoted = part.replace('"', '\\"')
            text += f'["{quoted}"]'
        else:
            text += f".{part}" if text else part
    return text


def under(path: str, ignored: str) -> bool:
    """Whether a path is `ignored` or lies below it."""
    return path == ignored or path.startswith((f"{ignored}.", f"{ignored}["))


def _differences(path: Path, old: Value, new: Value) -> Iterator[tuple[Path, Operation, Value]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences((*path, key), old.get(key, MISSING), new.get(key, MISSING))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            left = old[index] if index < len(old) else MISSING
            right = new[index] if index < len(new) else MISSING
            yield from _differences((*path, index), left, right)
    elif old is MISSING:
        yield path, "add", new
    elif new is MISSING:
        yield path, "delete", old
    elif new is UNKNOWN or old != new or isinstance(old, bool) != isinstance(new, bool):
        yield path, "update", new


def _touches(path: Path, pattern: tuple[str, ...], value: Value) -> bool:
    names = tuple(part for part in path if isinstance(part, str))
    if names[: len(pattern)] == pattern:
        return True
    if pattern[: len(names)] != names:
        return False
    for part in pattern[len(names) :]:  # a whole map came or went: is the field within it?
        if value is UNKNOWN:
            return False
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


def _drifted_list(inputs: list[Value], before: list[Value], now: list[Value]) -> list[Value]:
    if all(_named(items) for items in (inputs, now)):
        was = {item["name"]: item for item in before} if _named(before) else {}
        live = {item["name"]: item for item in now}
        return [
            drifted(item, was.get(item["name"], MISSING), live[item["name"]])
            for item in inputs
            if item["name"] in live
        ]
    if len(inputs) == len(now):
        padded = before if len(before) == len(now) else [MISSING] * len(now)
        return [drifted(*triple) for triple in zip(inputs, padded, now, strict=True)]
    return now


def _named(items: list[Value]) -> bool:
    names = [item.get("name") for item in items if isinstance(item, dict)]
    return (
        len(names) == len(items)
        and all(isinstance(name, str) for name in names)
        and len({*names}) == len(names)
    )
