"""The catalogue `filters.yaml`: every filter, the one file a team edits to release a filter."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Self

from pydantic import Field, create_model

from surge.model.base import Strict, problems_of
from surge.model.capacity import capacity_problems
from surge.model.filter import RULES, Filter
from surge.model.problems import Path, ProblemsError, did_you_mean, shown
from surge.model.settings import Settings
from surge.model.worker_sets import worker_set_problems
from surge.model.yaml_reader import Document, read_yaml

__all__ = ["CLASSES", "Catalogue", "Defaults", "Entry"]

CLASSES = ("batch", "interactive", "pooled", "scale-to-zero")
SECTIONS = ("defaults", "filters")

# Each filter has its own: a default would make two filters share it.
ITS_OWN = frozenset({"name", "image", "model", "service_class", "worker_set", "queue", "target"})
FROM_THE_KEY = frozenset({"name"})

# The case study's.
USUAL_TARGET = 0.7


def _optional(name: str, doc: str, without: frozenset[str]) -> type[Strict]:
    fields: dict[str, Any] = {
        key: (field.rebuild_annotation(), Field(default=None, alias=field.alias))
        for key, field in Filter.model_fields.items()
        if key not in without
    }
    return create_model(name, __base__=Strict, __doc__=doc, **fields)


Defaults = _optional("Defaults", "What the filters of one class have in common.", ITS_OWN)
Entry = _optional("Entry", "A filter as written; what it leaves out comes from its class.", FROM_THE_KEY)


@dataclass(frozen=True)
class Catalogue:
    """`filters`: sorted by name, so that the order of the file never changes anything."""

    filters: tuple[Filter, ...]

    @classmethod
    def read(cls, path: FilePath | str, settings: Settings | None = None) -> Self:
        """Return the catalogue in the file `path`; with `settings`, check that it fits the cluster.

        Raises ProblemsError with every problem at once, one line each.
        """
        document = read_yaml(FilePath(path))
        filters, problems = _parse(document)
        problems += capacity_problems(filters, settings) if settings is not None else []
        if problems:
            raise ProblemsError(_lines(document, problems))
        return cls(tuple(sorted(filters, key=lambda each: each.name)))

    def __getitem__(self, name: str) -> Filter:
        for each in self.filters:
            if each.name == name:
                return each
        raise KeyError(name)


def _parse(document: Document) -> tuple[list[Filter], list[tuple[Path, str]]]:
    root = document.value
    if not isinstance(root, Mapping):
        return [], [((), f"{shown(root)} where a mapping with the keys filters and defaults should be")]
    problems: list[tuple[Path, str]] = [
        ((key,), "unknown key" + did_you_mean(key, SECTIONS)) for key in root if key not in SECTIONS
    ]
    defaults = _defaults(root.get("defaults", {}), problems)
    entries = root.get("filters")
    if not isinstance(entries, Mapping) or not entries:
        return [], [*problems, (("filters",), "want a mapping with at least one filter")]
    parsed = [_filter(name, entry, defaults, problems) for name, entry in entries.items()]
    filters = [each for each in parsed if each is not None]
    _refuse_shared_queues(filters, problems)
    problems += worker_set_problems(filters)
    return filters, problems


def _defaults(given: Any, problems: list[tuple[Path, str]]) -> dict[str, dict[str, Any]]:
    """Return the usable defaults of each class; what is wrong in them is reported once, here."""
    usable: dict[str, dict[str, Any]] = {name: {} for name in CLASSES}
    if not isinstance(given, Mapping):
        problems.append((("defaults",), f"{shown(given)} is not a mapping"))
        return usable
    for name, values in given.items():
        if name not in CLASSES:
            problems.append((("defaults", name), "unknown class" + did_you_mean(name, CLASSES)))
        elif not isinstance(values, Mapping):
            problems.append((("defaults", name), f"{shown(values)} is not a mapping"))
        else:
            found = problems_of(Defaults, values, ())
            problems += [(("defaults", name, *path), text) for path, text in found]
            bad = {path[0] for path, _ in found}
            usable[name] = {key: value for key, value in values.items() if key not in bad}
    return usable


def _filter(
    name: str, entry: Any, defaults: Mapping[str, Mapping[str, Any]], problems: list[tuple[Path, str]]
) -> Filter | None:
    if not isinstance(entry, Mapping):
        problems.append((("filters", name), f"{shown(entry)} is not a mapping"))
        return None
    kind = entry.get("class", "interactive")
    usual = defaults.get(kind, {}) if isinstance(kind, str) else {}
    given = {"name": name, "queue": f"filter.{name}"[:120], **usual, **entry}
    if "name" in entry:
        problems.append(
            (("filters", name, "name"), "unknown key: a filter's name is the key it stands under")
        )
        given["name"] = name
    if given.get("signal") == "ratio" and "target" not in given:
        given["target"] = USUAL_TARGET
    found = _of_this_entry(problems_of(Filter, given, RULES), entry)
    problems += [(("filters", name, *path), text) for path, text in found]
    return None if found or "name" in entry else Filter.model_validate(given)


def _of_this_entry(found: list[tuple[Path, str]], entry: Mapping[str, Any]) -> list[tuple[Path, str]]:
    """A name that is refused is reported at the filter's key, and its derived queue not at all."""
    kept: list[tuple[Path, str]] = []
    name_is_bad = any(path[:1] == ("name",) for path, _ in found)
    for path, text in found:
        if path[:1] == ("name",):
            kept.append(((), text))
        elif not (name_is_bad and path[:1] == ("queue",) and "queue" not in entry):
            kept.append((path, text))
    return kept


def _refuse_shared_queues(filters: list[Filter], problems: list[tuple[Path, str]]) -> None:
    first: dict[str, str] = {}
    for each in sorted(filters, key=lambda one: one.name):
        owner = first.setdefault(each.queue, each.name)
        if owner != each.name:
            problems.append(
                (
                    ("filters", each.name, "queue"),
                    f"{shown(each.queue)} is the queue of {owner} too: they would take each other's work",
                )
            )


def _lines(document: Document, problems: list[tuple[Path, str]]) -> list[str]:
    """Return the problems in the order of the file."""

    def place(item: tuple[Path, str]) -> int:
        path = item[0]
        while path and path not in document.lines:
            path = path[:-1]
        return document.lines.get(path, 0)

    return [document.problem(path, text) for path, text in sorted(problems, key=place)]
