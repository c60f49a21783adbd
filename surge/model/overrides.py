"""Overrides of the catalogue: what the filters of a selection have in common, whatever their class."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from surge.model.base import LABEL_SIGNS, Strict, problems_of
from surge.model.entry import Settable
from surge.model.filter import ServiceClass
from surge.model.problems import Path, did_you_mean, shown
from surge.model.values import Priority

__all__ = ["Override", "Selector", "read_overrides"]

KEYS = ("select", "set")


def _glob(text: str) -> str:
    if not text or not (LABEL_SIGNS | {"*", "?"}).issuperset(text):
        raise ValueError(f"{shown(text)} is no pattern of names: want a-z, 0-9, -, * and ?, such as photo-*")
    return text


class Selector(Strict):
    """Which filters; all keys that are there must hold. names: a pattern with * and ?."""

    service_class: Annotated[ServiceClass | None, Field(alias="class")] = None
    owner: Annotated[str, Field(max_length=100)] | None = None
    priority: Priority | None = None
    names: Annotated[str, Field(max_length=50), AfterValidator(_glob)] | None = None

    @model_validator(mode="after")
    def _selects_by_something(self) -> Self:
        if self == Selector.model_construct():
            raise ValueError("it would select every filter: want class, owner, priority or names")
        return self

    def takes(self, name: str, values: Mapping[str, Any]) -> bool:
        """values: the filter's keys as its entry and its class say them."""
        wanted = self.model_dump(by_alias=True, exclude_none=True, exclude={"names"})
        seen = {"class": "interactive", "priority": "normal", **values}
        return all(seen.get(key) == value for key, value in wanted.items()) and (
            self.names is None or fnmatchcase(name, self.names)
        )


@dataclass(frozen=True)
class Override:
    """where: how people call it, such as overrides.0."""

    where: Path
    select: Selector
    values: Mapping[str, Any]


def read_overrides(given: Any, problems: list[tuple[Path, str]]) -> list[Override]:
    """Return the usable ones, in the order of the file; what is wrong in them is reported once, here."""
    if not isinstance(given, list):
        problems.append((("overrides",), f"{shown(given)} is not a list of mappings with select and set"))
        return []
    found = [_override(("overrides", str(place)), each, problems) for place, each in enumerate(given)]
    return [each for each in found if each is not None]


def _override(where: Path, given: Any, problems: list[tuple[Path, str]]) -> Override | None:
    if not isinstance(given, Mapping):
        problems.append((where, f"{shown(given)} is not a mapping with the keys select and set"))
        return None
    problems += [((*where, key), "unknown key" + did_you_mean(key, KEYS)) for key in given if key not in KEYS]
    parts: list[Mapping[str, Any]] = []
    for key in KEYS:
        if not isinstance(given.get(key), Mapping) or not given[key]:
            problems.append((where, f"want {key}: a mapping with at least one key"))
        else:
            parts.append(given[key])
    if len(parts) != len(KEYS):
        return None
    select, values = parts
    wrong_select = problems_of(Selector, select, ())
    wrong_values = problems_of(Settable, values, ())
    problems += [((*where, "select", *path), text) for path, text in wrong_select]
    problems += [((*where, "set", *path), text) for path, text in wrong_values]
    if wrong_select:
        return None
    bad = {path[0] for path, _ in wrong_values}
    usable = {key: value for key, value in values.items() if key not in bad}
    return Override(where, Selector.model_validate(select), usable)
