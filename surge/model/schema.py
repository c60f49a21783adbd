"""The catalogue's JSON schema, for editors.

`python -m surge.model.schema` rewrites schema/filters.schema.json.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from surge.model.base import Strict
from surge.model.entry import CLASSES, Defaults, Entry, Settable
from surge.model.meaning import MEANING, PATTERNS
from surge.model.overrides import Selector

__all__ = ["FILE", "catalogue_schema", "rendered"]

FILE = "schema/filters.schema.json"
SECTIONS = {
    "Gpu": "gpu.",
    "Trainer": "gpu.trainer.",
    "QueueOptions": "queue-options.",
    "Selector": "select.",
}
MODELS: tuple[type[Strict], ...] = (Defaults, Entry, Selector, Settable)
NAME = "^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?$"


def catalogue_schema() -> dict[str, Any]:
    """Return the schema of a file of the catalogue: keys, types and ranges; not the rules over several keys.

    Nothing is required: what a file leaves out may stand in another one, or in an override.
    """
    _, made = models_json_schema([(model, "validation") for model in MODELS], by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "surge catalogue",
        "type": "object",
        "additionalProperties": False,
        "minProperties": 1,
        "properties": {
            "defaults": {
                "type": "object",
                "additionalProperties": False,
                "properties": dict.fromkeys(CLASSES, _reference(Defaults)),
            },
            "overrides": {
                "type": "array",
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["select", "set"],
                    "properties": {"select": _reference(Selector), "set": _reference(Settable)},
                },
            },
            "filters": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": False,
                "patternProperties": {NAME: _reference(Entry)},
            },
        },
        "$defs": {name: _mapping(name, definition) for name, definition in made["$defs"].items()},
    }


def _reference(model: type[Strict]) -> dict[str, str]:
    return {"$ref": f"#/$defs/{model.__name__}"}


def rendered() -> str:
    return json.dumps(catalogue_schema(), indent=2) + "\n"


def _mapping(model: str, schema: dict[str, Any]) -> dict[str, Any]:
    prefix = SECTIONS.get(model, "")
    properties = {key: _property(prefix + key, rule) for key, rule in schema["properties"].items()}
    return {**schema, "properties": properties}


def _property(path: str, rule: dict[str, Any]) -> dict[str, Any]:
    # pydantic states each absent value as `default: null`, which no file may write.
    told = {name: value for name, value in rule.items() if name not in {"default", "title"}}
    if path in PATTERNS:
        told["pattern"] = PATTERNS[path]
    return {**told, "description": MEANING[path]}


if __name__ == "__main__":
    Path(FILE).write_text(rendered())
    sys.stdout.write(f"wrote {FILE}\n")
