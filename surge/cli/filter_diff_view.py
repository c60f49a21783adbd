"""The difference of two catalogues, for people and for machines."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from surge.cli.filter_diff import Difference, FilterChange, Values
from surge.model import Settings
from surge.model.footprint import Footprint

__all__ = ["as_json", "columns", "object_lines", "rows", "total"]

SIGNS = {"added": "+", "changed": "~", "removed": "-"}
LONGEST = 48


def columns(settings: Settings) -> tuple[str, ...]:
    money = ("money/h at min", "money/h at max") if settings.prices else ()
    return ("filter", "change", "GPUs at min", "GPUs at max", *money, "keys")


def rows(found: Difference, settings: Settings) -> list[tuple[str, ...]]:
    return [
        (
            f"{SIGNS[each.kind]} {'set ' if each.is_set else ''}{each.name}",
            each.kind,
            _step(each.before.least, each.after.least),
            _step(each.before.most, each.after.most),
            *(_money(each) if settings.prices else ()),
            "; ".join(_changes(each.keys)),
        )
        for each in found.filters
    ]


def object_lines(found: Difference) -> Iterator[str]:
    """One line an object, and one below it for each of its fields that changes."""
    for each in found.objects:
        yield f"{SIGNS[each.kind]} {each.thing.kind} {each.thing.name}"
        yield from (f"    {line}" for line in _changes(each.fields))


def total(found: Difference, settings: Settings, stack: str) -> list[str]:
    """What the whole catalogue takes before and after."""
    before, after = found.before, found.after
    gpus = f"{_step(before.least, after.least)} GPUs at min, {_step(before.most, after.most)} at max"
    lines = [f"all filters on {stack}: {gpus}"]
    if not settings.prices or after.money_most is None or before.money_most is None:
        lines.append(
            "no price is known for all of these GPUs, so no money is shown: set surge:settings.prices in "
            f"Pulumi.{stack}.yaml, such as `prices: {{gpu: 2.5}}` (of a GPU hour, by pool)"
        )
    else:
        lines.append(
            f"money an hour: {_step(before.money_least, after.money_least)} at min, "
            f"{_step(before.money_most, after.money_most)} at max"
        )
    return lines


def as_json(found: Difference) -> dict[str, Any]:
    """Numbers as they are; money is null without a price."""
    return {
        "filters": {each.name: _filter(each) for each in found.filters if not each.is_set},
        "worker_sets": {each.name: _filter(each) for each in found.filters if each.is_set},
        "objects": [
            {"change": each.kind, "kind": each.thing.kind, "name": each.thing.name, "fields": each.fields}
            for each in found.objects
        ],
        "total": _takes(found.before, found.after),
    }


def _money(each: FilterChange) -> tuple[str, str]:
    before, after = each.before, each.after
    return _step(before.money_least, after.money_least), _step(before.money_most, after.money_most)


def _filter(each: FilterChange) -> dict[str, Any]:
    return {"change": each.kind, "keys": each.keys, **_takes(each.before, each.after)}


def _takes(before: Footprint, after: Footprint) -> dict[str, Any]:
    return {
        "gpus": {"min": [before.least, after.least], "max": [before.most, after.most]},
        "money_per_hour": {
            "min": [before.money_least, after.money_least],
            "max": [before.money_most, after.money_most],
        },
    }


def _step(before: float | None, after: float | None) -> str:
    """`12 -> 14 (+2)`; the plain number when nothing changes."""
    if before is None or after is None:
        return "?"
    if before == after:
        return _number(after)
    sign = "+" if after > before else "-"
    return f"{_number(before)} -> {_number(after)} ({sign}{_number(abs(after - before))})"


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _changes(fields: Mapping[str, Values]) -> Iterable[str]:
    return (f"{path}: {_value(old)} -> {_value(new)}" for path, (old, new) in fields.items())


def _value(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}...{text[-LONGEST // 4 :]}"
