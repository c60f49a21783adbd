"""YAML as a person wrote it -> plain values with the line of every key; hostile input is refused.

Refused, beyond what YAML itself refuses: duplicate keys (the last would win silently), keys that
are not text, anchors, aliases and merges (a few lines of them unfold to gigabytes; `defaults` says
things once), tags, several documents, more than 4 MiB, more than 20 levels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import yaml

from surge.model.problems import Path, ProblemsError, joined, shown

__all__ = ["MOST_BYTES", "Document", "Place", "read_yaml"]

MOST_BYTES = 4 * 1024 * 1024
DEEPEST = 20
PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null"))


class Place(NamedTuple):
    """line: from 1."""

    file: str
    line: int


@dataclass(frozen=True)
class Document:
    """`value`: mappings, lists, scalars. `places`: path of a key or list item -> where it stands."""

    name: str
    value: Any
    places: Mapping[Path, Place]

    def place(self, path: Path) -> Place:
        """Where `path` stands, or its nearest parent; line 0 of the document when none is written."""
        known = path
        while known and known not in self.places:
            known = known[:-1]
        return self.places.get(known, Place(self.name, 0))

    def problem(self, path: Path, text: str) -> str:
        """Return one line about `path`, with the place of it or of its nearest parent."""
        file, line = self.place(path)
        where = f"{file}:{line}" if line else file
        return f"{where}: {joined(path)}: {text}" if path else f"{where}: {text}"


def read_yaml(file: FilePath, name: str | None = None, text: str | None = None) -> Document:
    """Return what `file` says, or would say with `text` in it. name: how problems call it.

    Raises ProblemsError (all problems, one line each).
    """
    name = name or file.name
    text = _text(file, name) if text is None else text
    try:
        _refuse_bombs(name, text)
        loader = yaml.CSafeLoader(text)
        try:
            root = loader.get_single_node()
            reader = _Reader(name, loader)
            value = None if root is None else reader.plain(root, ())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f":{mark.line + 1}"
        raise ProblemsError([f"{name}{line}: this is not YAML: {error.problem}"]) from None
    except yaml.YAMLError as error:
        raise ProblemsError([f"{name}: this is not YAML: {' '.join(str(error).split())}"]) from None
    if reader.problems:
        raise ProblemsError(reader.problems)
    return Document(name, value, reader.places)


def _text(file: FilePath, name: str) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ProblemsError([f"{name}: larger than {MOST_BYTES // 2**20} MiB: this is no such file"])
        return content.decode("utf-8")
    except OSError as error:
        raise ProblemsError([f"{file}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise ProblemsError([f"{name}: not UTF-8 text (byte {error.start}): save it as UTF-8"]) from None


def _refuse_bombs(name: str, text: str) -> None:
    """Look at the flat events first: composing nodes recurses, and would unfold what is refused here."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        line = 0 if event.start_mark is None else event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            text = "anchors, aliases and merges are refused: write the value out, or use `defaults`"
            raise ProblemsError([f"{name}:{line}: {text}"])
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise ProblemsError([f"{name}:{line}: nested more than {DEEPEST} levels deep"])
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise ProblemsError([f"{name}:{line}: a second document begins here: want one per file"])


class _Reader:
    def __init__(self, name: str, loader: yaml.CSafeLoader) -> None:
        self.name = name
        self.loader = loader
        self.places: dict[Path, Place] = {}
        self.problems: list[str] = []

    def plain(self, node: yaml.Node, path: Path) -> Any:
        if isinstance(node, yaml.MappingNode) and node.tag.endswith(":map"):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag.endswith(":seq"):
            return self._sequence(node, path)
        if node.tag in PLAIN_TAGS:
            try:
                return self.loader.construct_object(node)
            except ValueError:
                # `!!int abc`, or a decimal of more digits than Python converts.
                self._wrong(node, path, f"{shown(node.value)} is not what its tag says")
                return None
        if node.tag.startswith("tag:yaml.org,2002:python") or not node.tag.startswith("tag:yaml.org,2002:"):
            self._wrong(node, path, f"the tag {shown(node.tag)} is refused: write a plain value")
        else:
            kind = node.tag.split(":")[-1]
            self._wrong(node, path, f"{shown(node.value)} is read as {kind}: put it in quotes")
        return None

    def _sequence(self, node: yaml.Node, path: Path) -> list[Any]:
        items: list[Any] = []
        for number, child in enumerate(node.value):
            here = (*path, str(number))
            self.places[here] = Place(self.name, child.start_mark.line + 1)
            items.append(self.plain(child, here))
        return items

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else shown(key_node.value)
            here = (*path, key)
            if key_node.tag != "tag:yaml.org,2002:str":
                self._wrong(
                    key_node, here, f"the key is read as {key_node.tag.split(':')[-1]}: put it in quotes"
                )
            elif key in mapping:
                self._wrong(key_node, here, f"duplicate key, first seen on line {self.places[here].line}")
            else:
                self.places[here] = Place(self.name, key_node.start_mark.line + 1)
                mapping[key] = self.plain(value_node, here)
        return mapping

    def _wrong(self, node: yaml.Node, path: Path, text: str) -> None:
        where = f"{self.name}:{node.start_mark.line + 1}"
        self.problems.append(f"{where}: {joined(path)}: {text}" if path else f"{where}: {text}")
