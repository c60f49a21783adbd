"""A new entry in the catalogue: written when the whole is valid with it, and not at all when it is not."""

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from surge.cli.console import Refusal
from surge.model import Catalogue, ProblemsError, Settings
from surge.model.catalogue_files import read_catalogue
from surge.model.insertion import inserted
from surge.model.problems import did_you_mean, shown

__all__ = ["add_filter", "read_keys"]

# What no two filters share.
ITS_OWN = frozenset({"queue"})


def read_keys(given: Iterable[str]) -> dict[str, Any]:
    """Return the keys of `KEY=VALUE` words, values read as YAML. Raises Refusal."""
    keys: dict[str, Any] = {}
    for word in given:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise Refusal(f"{shown(word)} sets nothing", "Write: --set KEY=VALUE, such as --set slo-s=30")
        try:
            keys[key] = yaml.load(value, Loader=yaml.CSafeLoader)
        except (yaml.YAMLError, ValueError) as error:
            raise Refusal(
                f"{shown(value)} for {key} is not YAML: {' '.join(str(error).split())[:100]}",
                "Write sections as --set 'gpu={memory-mib: 9000, cores: 20}'",
            ) from None
    return keys


def add_filter(
    path: Path, settings: Settings, name: str, keys: Mapping[str, Any], source: str | None = None
) -> tuple[Path, Catalogue]:
    """Write an entry and return its file and the catalogue with it. source: the filter that it is like.

    In a folder it gets a file of its own. Raises Refusal with everything that is wrong with it; the files
    are untouched then. Raises ProblemsError when something was wrong before.
    """
    written = _entries(path)
    if name in written:
        raise Refusal(
            f'there is a filter "{name}" already: nothing was written',
            f"Look at it: surge filter show {name}",
        )
    if source is not None and source not in written:
        raise Refusal(
            f'there is no filter "{source}" to start from{did_you_mean(source, written)}',
            "See all: surge filter list",
        )
    like = (
        {} if source is None else {key: value for key, value in written[source].items() if key not in ITS_OWN}
    )
    entry = {**like, **keys}
    file = path / f"{Path(name).name}.yaml" if path.is_dir() else path
    old = file.read_bytes() if file.exists() else b""
    try:
        draft = inserted(old.decode(), name, entry, after=source)
    except ValueError as error:
        raise Refusal(f"{file.name}: {error}", "Write the entry by hand, then: surge filter check") from None
    try:
        catalogue = Catalogue.read(path, settings, {file: draft})
    except ProblemsError as error:
        raise Refusal(*error.problems, "nothing was written: mend the flags, and run it again") from None
    if _entries(path, {file: draft}) != {**written, name: entry}:
        raise Refusal(
            f"{file.name}: its layout is one that an entry cannot be put into without a change to others: "
            "nothing was written",
            "Write the entry by hand, then: surge filter check",
        )
    _replace(file, old, draft.encode())
    return file, catalogue


def _entries(path: Path, drafts: Mapping[Path, str] | None = None) -> dict[str, Any]:
    root = read_catalogue(path, drafts).value
    entries = root.get("filters") if isinstance(root, Mapping) else None
    return dict(entries) if isinstance(entries, Mapping) else {}


def _replace(file: Path, seen: bytes, text: bytes) -> None:
    """At once or not at all, with the file's own mode, behind a link where there is one."""
    target = file.resolve()
    mode = target.stat().st_mode & 0o7777 if target.exists() else 0o644
    handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(text)
            os.fsync(stream.fileno())
        Path(draft).chmod(mode)
        if (target.read_bytes() if target.exists() else b"") != seen:
            raise Refusal(f"{file.name} was changed meanwhile: nothing was written", "Run the command again")
        Path(draft).replace(target)
    finally:
        Path(draft).unlink(missing_ok=True)
