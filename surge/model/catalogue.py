"""The catalogue, `filters.yaml` or a folder of files: every filter, one entry each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Self

from surge.model.base import from_elsewhere, problems_of
from surge.model.capacity import capacity_problems
from surge.model.catalogue_files import SECTIONS, read_catalogue
from surge.model.entry import CLASSES, Defaults
from surge.model.filter import RULES, Filter
from surge.model.model_stores import model_store_problems
from surge.model.overrides import Override, read_overrides
from surge.model.problems import Path, ProblemsError, did_you_mean, joined, shown
from surge.model.settings import Settings
from surge.model.worker_sets import worker_set_problems
from surge.model.yaml_reader import Document

__all__ = ["Catalogue"]

# The case study's.
USUAL_TARGET = 0.7

Problems = list[tuple[Path, str]]


@dataclass(frozen=True)
class Catalogue:
    """filters: sorted by name, so that the order of the file never changes anything.

    sources: where each key of a filter comes from, such as filters.yaml:12 or defaults.batch.
    """

    filters: tuple[Filter, ...]
    sources: Mapping[str, Mapping[str, str]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def read(
        cls,
        path: FilePath | str,
        settings: Settings | None = None,
        drafts: Mapping[FilePath, str] | None = None,
    ) -> Self:
        """Return the catalogue in the file or folder `path`; with `settings`, check that it fits the cluster.

        drafts: texts to read instead of those in their files.
        Raises ProblemsError with every problem at once, one line each.
        """
        document = read_catalogue(FilePath(path), drafts)
        reading = _Reading()
        reading.read(document.value)
        filters = reading.filters
        found = worker_set_problems(filters)
        if settings is not None:
            found += capacity_problems(filters, settings)
            found += model_store_problems(filters, settings)
            found += _unknown_to_leave(filters, settings)
        problems = reading.problems + [reading.explained(*each) for each in found]
        if problems:
            raise ProblemsError(_lines(document, problems))
        sources = {each.name: _written(document, each.name) | reading.sources[each.name] for each in filters}
        return cls(tuple(sorted(filters, key=lambda each: each.name)), sources)

    def __getitem__(self, name: str) -> Filter:
        for each in self.filters:
            if each.name == name:
                return each
        raise KeyError(name)


def _unknown_to_leave(filters: list[Filter], settings: Settings) -> Problems:
    names = [each.worker_set or each.name for each in filters]
    return [
        ((), f"surge:settings.scale-in.leave names {shown(name)}, no filter here{did_you_mean(name, names)}")
        for name in settings.scale_in.leave
        if name not in names
    ]


@dataclass
class _Reading:
    """sources: of each filter's keys that its entry does not say, such as defaults.batch."""

    filters: list[Filter] = field(default_factory=list)
    problems: Problems = field(default_factory=list)
    sources: dict[str, dict[str, str]] = field(default_factory=dict)

    def read(self, root: Any) -> None:
        if not isinstance(root, Mapping):
            text = f"{shown(root)} where a mapping with the key filters should be"
            self.problems.append(((), text))
            return
        self.problems += [
            ((key,), "unknown key" + did_you_mean(key, SECTIONS)) for key in root if key not in SECTIONS
        ]
        defaults = _defaults(root.get("defaults", {}), self.problems)
        overrides = read_overrides(root.get("overrides", []), self.problems)
        entries = root.get("filters")
        if not isinstance(entries, Mapping) or not entries:
            self.problems.append((("filters",), "want a mapping with at least one filter"))
            return
        idle = set(range(len(overrides)))
        for name, entry in entries.items():
            if not isinstance(entry, Mapping):
                self.problems.append((("filters", name), f"{shown(entry)} is not a mapping"))
                continue
            usual = defaults.get(str(entry.get("class", "interactive")), {})
            takes = [each.select.takes(name, {**usual, **entry}) for each in overrides]
            idle -= {place for place, taken in enumerate(takes) if taken}
            self._filter(
                name, entry, usual, [each for each, taken in zip(overrides, takes, strict=True) if taken]
            )
        self.problems += [
            (overrides[place].where, "selects none of the filters: mend select, or remove it")
            for place in idle
        ]
        _refuse_shared_queues(self.filters, self.problems)

    def explained(self, path: Path, text: str) -> tuple[Path, str]:
        """A problem of a key that the filter's entry does not say names where the key comes from."""
        sources = self.sources.get(path[1], {}) if len(path) > 2 else {}
        return path, text + from_elsewhere(path[2:3], sources)

    def _filter(
        self, name: str, entry: Mapping[str, Any], usual: Mapping[str, Any], overrides: Iterable[Override]
    ) -> None:
        given = {"name": name, "queue": f"filter.{name}"[:120], **usual}
        sources = dict.fromkeys(usual, joined(("defaults", entry.get("class", "interactive"))))
        for override in overrides:
            given |= override.values
            sources |= dict.fromkeys(override.values, joined(override.where))
        given |= entry
        self.sources[name] = sources = {key: value for key, value in sources.items() if key not in entry}
        if "name" in entry:
            text = "unknown key: a filter's name is the key it stands under"
            self.problems.append((("filters", name, "name"), text))
            given["name"] = name
        if given.get("signal") == "ratio" and "target" not in given:
            given["target"] = USUAL_TARGET
        found = _of_this_entry(problems_of(Filter, given, RULES, sources), entry)
        self.problems += [(("filters", name, *path), text) for path, text in found]
        if not found and "name" not in entry:
            self.filters.append(Filter.model_validate(given))


def _defaults(given: Any, problems: Problems) -> dict[str, dict[str, Any]]:
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


def _written(document: Document, name: str) -> dict[str, str]:
    entry = document.value["filters"][name]
    places = {"name": document.place(("filters", name))}
    places |= {key: document.place(("filters", name, key)) for key in entry}
    return {key: f"{place.file}:{place.line}" for key, place in places.items()}


def _lines(document: Document, problems: Problems) -> list[str]:
    """Return the problems in the order of the files."""
    ordered = sorted(problems, key=lambda each: document.place(each[0]))
    return [document.problem(path, text) for path, text in ordered]
