"""From the engine's property values to plain Python, knowing what is unknown and what is secret."""

from collections.abc import Mapping, Sequence
from typing import Any

from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime import rpc
from pydantic import BaseModel, ValidationError

__all__ = ["UNKNOWN", "changed", "failures", "has_unknown", "plain", "wrap"]


class _Unknown:
    """A value that only the update will know."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()


def plain(value: PropertyValue) -> Any:
    """Plain Python, numbers that are whole as int; UNKNOWN where a preview does not know yet."""
    inner = value.value
    # The SDK's property values cannot carry an unknown over the wire: it stays the engine's mark, a text.
    if inner == rpc.UNKNOWN:
        return UNKNOWN
    if isinstance(inner, float) and inner.is_integer():
        return int(inner)
    if isinstance(inner, Mapping):
        return {key: plain(item) for key, item in inner.items()}
    if isinstance(inner, Sequence) and not isinstance(inner, str):
        return [plain(item) for item in inner]
    return inner


def wrap(value: Any, *, secret: bool = False) -> PropertyValue:
    """The inverse of `plain`."""
    if value is UNKNOWN:
        return PropertyValue(rpc.UNKNOWN)
    if isinstance(value, Mapping):
        return PropertyValue({key: wrap(item) for key, item in value.items()}, is_secret=secret)
    if isinstance(value, list | tuple):
        return PropertyValue([wrap(item) for item in value], is_secret=secret)
    if isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    return PropertyValue(value, is_secret=secret)


def has_unknown(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return value is UNKNOWN


def changed(
    olds: Mapping[str, PropertyValue], news: Mapping[str, PropertyValue], names: Sequence[str]
) -> list[str]:
    """The inputs among `names` that differ; secret or not does not matter, only the value does."""
    return [name for name in names if _plain_or_none(olds, name) != _plain_or_none(news, name)]


def failures(model: type[BaseModel], values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(property, reason) of everything in `values` that the model refuses; unknown values pass."""
    try:
        model.model_validate(values)
    except ValidationError as error:
        return [
            (str(item["loc"][0]) if item["loc"] else "", _reason(item["loc"], item["msg"]))
            for item in error.errors(include_url=False)
            if not has_unknown(item["input"])
        ]
    return []


def _plain_or_none(values: Mapping[str, PropertyValue], name: str) -> Any:
    return plain(values[name]) if name in values else None


def _reason(place: tuple[int | str, ...], message: str) -> str:
    # Never the value itself: it may be a secret.
    path = ".".join(str(step) for step in place)
    return f"{path}: {message.removeprefix('Value error, ')}"
