"""What a change of the catalogue changes: filters and their keys, objects, GPUs, money."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from surge.cli.objects import Thing, things_of
from surge.model import Catalogue, Filter, Settings
from surge.model.footprint import Footprint, footprint, footprints

__all__ = ["Change", "Difference", "FilterChange", "Values", "compare"]

Kind = Literal["added", "changed", "removed"]
# Of a changed value: what it was, and what it becomes; None where there is none.
Values = tuple[Any, Any]


@dataclass(frozen=True)
class Change:
    """An object that comes, goes or changes; at which of its fields."""

    kind: Kind
    thing: Thing
    fields: Mapping[str, Values] = field(default_factory=dict)


@dataclass(frozen=True)
class FilterChange:
    """A filter or a worker set. keys: of a changed filter. before, after: what it takes on the stack.

    Members of a worker set take nothing of their own.
    """

    kind: Kind
    name: str
    is_set: bool
    keys: Mapping[str, Values]
    before: Footprint
    after: Footprint


@dataclass(frozen=True)
class Difference:
    """before, after: what the whole catalogue takes on the stack."""

    filters: Sequence[FilterChange]
    objects: Sequence[Change]
    before: Footprint
    after: Footprint


def compare(old: Catalogue, new: Catalogue, settings: Settings) -> Difference:
    """Return what is different between two catalogues on a stack."""
    olds, news = ({item.name: item for item in each.filters} for each in (old, new))
    names = [name for name in sorted(olds.keys() | news.keys()) if olds.get(name) != news.get(name)]
    sets = {item.worker_set for name in names for each in (olds, news) if (item := each.get(name))} - {None}
    before, after = footprints(old.filters, settings), footprints(new.filters, settings)

    def change(
        name: str, keys: Mapping[str, Values], *, is_set: bool, was: bool, is_there: bool
    ) -> FilterChange:
        takes = (before.get(name, Footprint()), after.get(name, Footprint()))
        return FilterChange(_kind(was, is_there), name, is_set, keys, *takes)

    filters = [
        change(
            name, _keys(olds.get(name), news.get(name)), is_set=False, was=name in olds, is_there=name in news
        )
        for name in names
    ]
    filters += [
        change(name, {}, is_set=True, was=name in before, is_there=name in after)
        for name in sorted(filter(None, sets))
    ]

    def touched(catalogue: Catalogue) -> list[Filter]:
        return [item for item in catalogue.filters if item.name in names or item.worker_set in sets]

    objects = _objects(things_of(touched(old), settings), things_of(touched(new), settings))
    return Difference(filters, objects, footprint(old.filters, settings), footprint(new.filters, settings))


def _kind(was: bool, is_there: bool) -> Kind:
    return "changed" if was and is_there else "removed" if was else "added"


def _keys(old: Filter | None, new: Filter | None) -> dict[str, Values]:
    if old is None or new is None:
        return {}
    return _fields(old.model_dump(mode="json", by_alias=True), new.model_dump(mode="json", by_alias=True))


def _objects(old: Mapping[Thing, Any], new: Mapping[Thing, Any]) -> list[Change]:
    return [
        Change(
            _kind(thing in old, thing in new),
            thing,
            _fields(old[thing], new[thing]) if thing in old and thing in new else {},
        )
        for thing in sorted(old.keys() | new.keys(), key=lambda each: (each.name, each.kind))
        if old.get(thing) != new.get(thing)
    ]


def _fields(old: Any, new: Any) -> dict[str, Values]:
    before, after = dict(_leaves("", old)), dict(_leaves("", new))
    return {
        path: (before.get(path), after.get(path))
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    }


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every value with its path; an item of a list is known by its name where it has one."""
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), each)
    elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        for place, each in enumerate(value):
            name = each.get("name", place) if isinstance(each, Mapping) else place
            yield from _leaves(f"{path}[{name}]", each)
    else:
        yield path, int(value) if isinstance(value, float) and value.is_integer() else value
