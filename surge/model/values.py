"""Single values of a catalogue entry that more is asked of than a type: model references, targets, places."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from surge.model.base import LABEL_SIGNS, Count, Seconds, Strict
from surge.model.problems import shown

__all__ = ["ModelReference", "Place", "Places", "Priority", "QueueOptions", "Target"]

Place = Literal["onprem", "cloud"]
Priority = Literal["high", "normal", "low"]

COOLEST, HOTTEST = 0.1, 0.95
PATH_SIGNS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._=+@")
STORES = {"nas://": ("share", LABEL_SIGNS), "s3://": ("bucket", LABEL_SIGNS | {"."})}


class QueueOptions(Strict):
    """How the filter's queue treats messages.

    delivery_limit: a message that came back this often is a dead letter. max_length: messages; more are
    refused to the publisher, none is dropped. message_ttl_s: one that waited longer is a dead letter.
    """

    delivery_limit: Annotated[Count, Field(le=1_000)] = 5
    max_length: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    message_ttl_s: Seconds | None = None


def _model(text: str) -> str:
    store = next((each for each in STORES if text.startswith(each)), None)
    if store is None:
        raise ValueError(f"{shown(text)} is no model reference: want nas://share/folder or s3://bucket/key")
    host, _, path = text.removeprefix(store).partition("/")
    what, signs = STORES[store]
    if not 1 <= len(host) <= 63 or not signs.issuperset(host) or {host[0], host[-1]} & {"-", "."}:
        raise ValueError(f"{shown(host)} is no name of a {what}: want a-z, 0-9 and -, at most 63 signs")
    parts = path.split("/")
    if any(part in {"", ".", ".."} or not PATH_SIGNS.issuperset(part) for part in parts):
        raise ValueError(
            f"{shown(path)} is no path below {store}{host}: want names of A-Z, a-z, 0-9 and . - _ = + @, "
            'separated by single slashes, none of them "." or ".."'
        )
    return text


def _target(value: Any) -> Any:
    if value is None or value == "auto":
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(  # noqa: TRY004 -- pydantic makes a problem of this one only
            f'{shown(value)} is neither a number nor "auto"'
        )
    if not COOLEST <= value <= HOTTEST:
        bound = f"at least {COOLEST:g}" if value < COOLEST else f"at most {HOTTEST:g}"
        raise ValueError(f'{shown(value)} is out of range: want {bound}, or "auto"')
    return value


def _places(places: tuple[Place, ...]) -> tuple[Place, ...]:
    if len(set(places)) != len(places):
        raise ValueError("a place stands there twice: want each once")
    return tuple(sorted(places))


ModelReference = Annotated[str, Field(max_length=500), AfterValidator(_model)]
Target = Annotated[
    Annotated[float, Field(ge=COOLEST, le=HOTTEST)] | Literal["auto"], BeforeValidator(_target)
]
# A YAML list becomes a tuple, so that a filter stays hashable.
Places = Annotated[tuple[Place, ...], Field(strict=False, min_length=1), AfterValidator(_places)]
