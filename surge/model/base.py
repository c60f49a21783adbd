"""What every model of a file has in common: kebab-case keys, nothing unknown, nothing guessed, frozen."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from surge.model.problems import Path, describe, shown

__all__ = ["Count", "DnsLabel", "Rule", "Seconds", "Strict", "dns_label", "from_elsewhere", "problems_of"]

LABEL_SIGNS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")

# A year: more is a mistake, and keeps every sum of seconds inside a 32-bit flag.
LONGEST_S = 31_536_000

Seconds = Annotated[float, Field(gt=0, le=LONGEST_S)]
Count = Annotated[int, Field(ge=1, le=100_000)]


class Strict(BaseModel):
    """A mapping in a file a person wrote."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        alias_generator=lambda name: name.replace("_", "-"),
        validate_by_alias=True,
        validate_by_name=False,
    )


@dataclass(frozen=True)
class Rule:
    """A rule over several keys of one mapping; `check` gets their values and returns what is wrong.

    The problem is reported at the first of `keys`. A rule is skipped when one of its keys is
    wrong by itself, so that one mistake makes one line.
    """

    keys: tuple[str, ...]
    check: Callable[..., str | None]


def problems_of(
    model: type[Strict],
    given: Mapping[str, Any],
    rules: Iterable[Rule],
    sources: Mapping[str, str] | None = None,
) -> list[tuple[Path, str]]:
    """Return (path, what is wrong) for all that `model` and `rules` find wrong in `given`.

    sources: of keys that come from elsewhere; what a rule says names them.
    """
    found: list[tuple[Path, str]] = []
    try:
        model.model_validate(given)
    except ValidationError as error:
        found = describe(error, model)
    bad = {path[0] for path, _ in found if path}
    values = {**_left_out(model), **given}
    for rule in rules:
        if bad.isdisjoint(rule.keys) and (text := rule.check(*(values[key] for key in rule.keys))):
            found.append(((rule.keys[0],), text + from_elsewhere(rule.keys, sources or {})))
    return found


@cache
def _left_out(model: type[Strict]) -> Mapping[str | None, Any]:
    """The value of every key of `model` that is not given; rules only read them."""
    return {
        field.alias: field.get_default(call_default_factory=True) for field in model.model_fields.values()
    }


def from_elsewhere(keys: Iterable[str], sources: Mapping[str, str]) -> str:
    """Return ` (min comes from overrides.0)` for the keys that have a source, or nothing."""
    known = [f"{key} comes from {sources[key]}" for key in keys if key in sources]
    return f" ({', '.join(known)})" if known else ""


def dns_label(text: str, longest: int) -> str:
    """Return `text` when it is a DNS-1123 label of at most `longest` signs, else raise ValueError."""
    if not text or len(text) > longest:
        raise ValueError(f"{shown(text)} has {len(text)} signs: want 1 to {longest}")
    if not LABEL_SIGNS.issuperset(text) or text[0] == "-" or text[-1] == "-":
        raise ValueError(
            f"{shown(text)} names objects in the cluster, so it may hold only a-z, 0-9 and -, "
            "and must begin and end with a letter or digit"
        )
    return text


DnsLabel = Annotated[str, AfterValidator(lambda text: dns_label(text, 30))]
