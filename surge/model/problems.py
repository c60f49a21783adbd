"""What is wrong with a file a person wrote: every problem at once, one line each."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

__all__ = ["Path", "ProblemsError", "describe", "did_you_mean", "joined", "shown"]

Path = tuple[str, ...]

# Nobody reads further, and a hostile file must not fill a terminal.
MOST_LINES = 200
LONGEST_VALUE = 60


class ProblemsError(Exception):
    """A settings or catalogue file is wrong. `problems`: one line each, in the order of the file."""

    def __init__(self, problems: Iterable[str]) -> None:
        found = list(problems)
        if len(found) > MOST_LINES:
            found = [*found[:MOST_LINES], f"... and {len(found) - MOST_LINES} more problems"]
        self.problems: list[str] = found
        super().__init__("\n".join(found))


def joined(path: Iterable[object]) -> str:
    """Return a path in a file as people write it: `filters.ghibli.min`."""
    return ".".join(_clipped(str(part)) for part in path)


def shown(value: object) -> str:
    """Return a value as one short printable line, whatever it is."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f'"{_clipped(value)}"'
    return _clipped(str(value).lower() if isinstance(value, bool) else str(value))


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return `, did you mean "x"?` for a near miss, else the words that would be right."""
    words = sorted(known)
    wrong = str(word)[:LONGEST_VALUE].lower().replace("_", "-")
    # Forgotten units are the usual slip: `slo` is nearer to `slots` than to `slo-s`.
    near = [f"{wrong}-s"] if f"{wrong}-s" in words else get_close_matches(wrong, words, n=1)
    return f', did you mean "{near[0]}"?' if near else f": want one of {', '.join(words)}"


def describe(error: ValidationError, model: type[BaseModel]) -> list[tuple[Path, str]]:
    """Return (path below `model`, what is wrong) for every error pydantic found."""
    found: list[tuple[Path, str]] = []
    for item in error.errors(include_url=False):
        path = tuple(str(part) for part in item["loc"] if part != "[key]")
        wording = _WORDINGS.get(item["type"])
        if item["type"] == "extra_forbidden":
            text = "unknown key" + did_you_mean(path[-1], _keys_at(model, path[:-1]))
        elif wording is not None:
            text = wording(item.get("ctx", {}), item["input"])
        else:
            text = f"{item['msg'][:1].lower()}{item['msg'][1:]} (seen: {shown(item['input'])})"
        found.append((path, text))
    return found


def _clipped(text: str) -> str:
    line = "".join(sign if sign.isprintable() else "?" for sign in text[: LONGEST_VALUE + 1])
    return line if len(line) <= LONGEST_VALUE else line[:LONGEST_VALUE] + "..."


def _bound(sign: str, key: str) -> Callable[[Mapping[str, Any], object], str]:
    return lambda ctx, value: f"{shown(value)} is out of range: want {sign} {ctx[key]:g}"


def _kind(want: str) -> Callable[[Mapping[str, Any], object], str]:
    return lambda _, value: f"{shown(value)} is not {want}"


def _enum(ctx: Mapping[str, Any], value: object) -> str:
    # The context reads `'demand' or 'ratio'`.
    known = [word.strip(" '") for word in str(ctx["expected"]).replace(" or ", ",").split(",")]
    return f"unknown value {shown(value)}{did_you_mean(value, known)}"


_WORDINGS: dict[str, Callable[[Mapping[str, Any], object], str]] = {
    "missing": lambda _, __: "missing: this key is needed",
    "literal_error": _enum,
    "int_type": _kind("a whole number"),
    "int_from_float": _kind("a whole number"),
    "float_type": _kind("a number"),
    "finite_number": _kind("a finite number"),
    "string_type": _kind("text"),
    "bool_type": _kind("true or false"),
    "model_type": _kind("a mapping"),
    "model_attributes_type": _kind("a mapping"),
    "dict_type": _kind("a mapping"),
    "tuple_type": _kind("a list"),
    "list_type": _kind("a list"),
    "too_short": lambda ctx, _: f"an empty list: want at least {ctx['min_length']}",
    "greater_than": _bound("more than", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("less than", "lt"),
    "less_than_equal": _bound("at most", "le"),
    "string_too_short": lambda ctx, value: f"{shown(value)} is too short: want {ctx['min_length']} or more",
    "string_too_long": lambda ctx, value: f"{shown(value)} is too long: want {ctx['max_length']} or fewer",
    "value_error": lambda ctx, _: str(ctx["error"]),
}


def _keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """Return the keys a mapping at `path` below `model` may have."""
    for part in path:
        for name, field in model.model_fields.items():
            if part == _key(name, field):
                model = _model_in(field.annotation) or model
    return [_key(name, field) for name, field in model.model_fields.items() if not field.exclude]


def _key(name: str, field: FieldInfo) -> str:
    return field.alias or name


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None
