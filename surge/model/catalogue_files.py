"""The catalogue's file, or its folder of files, as one document."""

import stat
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from surge.model.problems import Path, ProblemsError, shown
from surge.model.yaml_reader import MOST_BYTES, Document, Place, read_yaml

__all__ = ["SECTIONS", "catalogue_files", "read_catalogue"]

SECTIONS = ("defaults", "filters", "overrides")
MOST_FILES = 5_000


def read_catalogue(path: FilePath, drafts: Mapping[FilePath, str] | None = None) -> Document:
    """Return what the file `path` says, or all files of the folder `path` together.

    drafts: texts to read instead of those in their files.
    Raises ProblemsError (all problems of all files, one line each).
    """
    drafts = drafts or {}
    if not path.is_dir():
        return read_yaml(path, text=drafts.get(path))
    documents: list[Document] = []
    problems: list[str] = []
    for file in sorted({*catalogue_files(path), *drafts}):
        try:
            documents.append(read_yaml(file, f"{path.name}/{file.name}", drafts.get(file)))
        except ProblemsError as error:
            problems += error.problems
    merged = _Merged(path.name)
    for document in documents:
        merged.add(document)
    if problems or merged.problems:
        raise ProblemsError(problems + merged.problems)
    return Document(path.name, merged.value, merged.places)


def catalogue_files(path: FilePath) -> list[FilePath]:
    """Return the files of a catalogue, by name. Raises ProblemsError for what would silently not be read."""
    if not path.is_dir():
        return [path]
    found = sorted(each for each in path.iterdir() if not each.name.startswith("."))
    files = [each for each in found if each.suffix == ".yaml"]
    problems = [
        f"{path.name}/{each.name}: not read: want *.yaml files right below {path.name}; rename or move it"
        for each in found
        if each.is_dir() or each.suffix in {".yml", ".json"}
    ]
    problems += [
        f"{path.name}/{each.name}: not read: it is no regular file"
        for each in files
        if not each.is_dir() and not stat.S_ISREG(each.stat().st_mode)
    ]
    if not files:
        problems.append(f"{path.name}: no *.yaml file in it: want at least one with `filters:`")
    if len(files) > MOST_FILES:
        problems.append(f"{path.name}: {len(files)} files: want at most {MOST_FILES}")
    if sum(each.stat().st_size for each in files) > MOST_BYTES:
        problems.append(f"{path.name}: larger than {MOST_BYTES // 2**20} MiB in all: this is no catalogue")
    if problems:
        raise ProblemsError(problems)
    return files


class _Merged:
    """Sections of several files put together; what stands in two of them is refused, naming both."""

    def __init__(self, name: str) -> None:
        self.value: dict[str, Any] = {}
        self.places: dict[Path, Place] = {}
        self.problems: list[str] = []
        self._name = name

    def add(self, document: Document) -> None:
        if not isinstance(document.value, Mapping):
            text = f"{shown(document.value)} where a mapping with the key filters should be"
            self.problems.append(document.problem((), text))
            return
        for key, section in document.value.items():
            if key == "filters" and isinstance(section, Mapping):
                self._filters(document, section)
            elif key in self.value:
                where = _shown(self.places[(key,)])
                text = f"stands in {where} too: {key} belong into one file"
                self.problems.append(document.problem((key,), text))
            else:
                self.value[key] = section
        self.places = {**document.places, **self.places}

    def _filters(self, document: Document, section: Mapping[str, Any]) -> None:
        known = self.value.setdefault("filters", {})
        for name, entry in section.items():
            path = ("filters", name)
            if name in known:
                text = f"stands in {_shown(self.places[path])} too: want one entry for a filter"
                self.problems.append(document.problem(path, text))
            else:
                known[name] = entry


def _shown(place: Place) -> str:
    return f"{place.file}:{place.line}"
