"""The tables of docs/catalogue.md, from the model itself."""

from collections.abc import Iterator, Mapping
from typing import Any

from surge.model.base import Strict
from surge.model.entry import CLASSES
from surge.model.filter import Filter, Gpu, Trainer
from surge.model.overrides import Selector
from surge.model.schema import catalogue_schema
from surge.model.values import QueueOptions
from surge.policy.demand import BETA, wait_probability
from surge.policy.disruption import MAX_UNAVAILABLE

__all__ = ["class_rows", "key_rows", "selector_rows"]

KEYS = ["key", "value", "without it", "meaning"]
CLASS = ["class", "workers at rest", "signal", "β", "find no free worker", "may be away at once", "for"]
FOR = {
    "interactive": "somebody who waits and looks at the screen",
    "scale-to-zero": "the same, but seldom: the first request waits a whole warm-up",
    "pooled": "many filters, each too seldom for workers of its own, that run on the same image",
    "batch": "nobody: work that has to be done some time",
}
DEFINITIONS = catalogue_schema()["$defs"]
MODELS: Mapping[str, type[Strict]] = {
    "Entry": Filter,
    "Gpu": Gpu,
    "Trainer": Trainer,
    "QueueOptions": QueueOptions,
    "Selector": Selector,
}
# None stands for more than a missing value there.
SPECIAL = {
    "min": "needed",
    "queue": "`filter.<name>`",
    "target": "0.7",
    "model": "in the image",
    "gpu": "whole GPUs",
    "worker-set": "needed by `pooled`",
    "gpu.pool": "chosen",
    "gpu.memory-mib": "needed",
    "gpu.cores": "needed",
    "gpu.trainer": "none",
    "gpu.trainer.memory-mib": "needed",
    "gpu.trainer.cores": "needed",
    "queue-options": "as below",
    "queue-options.max-length": "no limit",
    "queue-options.message-ttl-s": "for ever",
}


def key_rows() -> list[list[str]]:
    """Every key of an entry with what it may be, what holds without it, and what it means."""
    return [KEYS, *_rows("Entry", "")]


def selector_rows() -> list[list[str]]:
    return [
        ["key of `select`", "value", "takes"],
        *([key, kind, told] for key, kind, _, told in _rows("Selector", "")),
    ]


def class_rows() -> list[list[str]]:
    """What a class decides."""
    return [
        CLASS,
        *(
            [
                f"`{name}`",
                "0" if name == "scale-to-zero" else "`min`",
                "`demand`" if name in {"batch", "pooled"} else "`demand` or `ratio`",
                f"{BETA[name]:g}",
                f"{100 * wait_probability(BETA[name]):.0f} %",
                MAX_UNAVAILABLE[name],
                FOR[name],
            ]
            for name in CLASSES
        ),
    ]


def _rows(model: str, prefix: str) -> Iterator[list[str]]:
    for key, rule in DEFINITIONS[model]["properties"].items():
        path = prefix + key
        section = next((each["$ref"].rpartition("/")[2] for each in _options(rule) if "$ref" in each), None)
        kind = "a section" if section else "seconds" if key.endswith("-s") else _kind(rule)
        yield [f"`{path}`", kind, SPECIAL.get(path) or _without(MODELS[model], key), rule["description"]]
        if section:
            yield from _rows(section, f"{path}.")


def _without(model: type[Strict], key: str) -> str:
    [field] = [each for name, each in model.model_fields.items() if key == (each.alias or name)]
    value = field.default
    if field.is_required():
        return "needed"
    if isinstance(value, tuple):
        return f"`[{', '.join(value)}]`"
    return "" if value is None else f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _options(rule: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for each in rule.get("anyOf", [rule]) if each.get("type") != "null"]


def _kind(rule: Mapping[str, Any]) -> str:
    return " or ".join(_one_kind(each) for each in _options(rule))


def _one_kind(rule: Mapping[str, Any]) -> str:
    if "enum" in rule:
        return ", ".join(f"`{each}`" for each in rule["enum"])
    if "const" in rule:
        return f"`{rule['const']}`"
    if rule["type"] == "array":
        return f"a list of {_one_kind(rule['items'])}"
    if rule["type"] in {"integer", "number"}:
        low, high = rule.get("minimum", rule.get("exclusiveMinimum")), rule["maximum"]
        return f"{'above ' if 'exclusiveMinimum' in rule else ''}{low:g} to {high:,}"
    return "text"
