"""The catalogue's JSON schema, for editors.

`python -m surge.model.schema` rewrites schema/filters.schema.json.
"""

import json
import sys
from pathlib import Path
from typing import Any

from surge.model.catalogue import CLASSES, Defaults, Entry

__all__ = ["FILE", "catalogue_schema", "rendered"]

FILE = "schema/filters.schema.json"
NAME = "^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?$"


def catalogue_schema() -> dict[str, Any]:
    """Return the schema of `filters.yaml`: keys, types and ranges; not the rules over several keys."""
    defaults = _mapping(Defaults.model_json_schema(by_alias=True))
    entry = _mapping(Entry.model_json_schema(by_alias=True))
    entry["required"] = ["image"]
    # References count from the root, wherever they stand.
    definitions = {**defaults.pop("$defs"), **entry.pop("$defs")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "surge catalogue",
        "type": "object",
        "additionalProperties": False,
        "required": ["filters"],
        "properties": {
            "defaults": {
                "type": "object",
                "additionalProperties": False,
                "properties": dict.fromkeys(CLASSES, defaults),
            },
            "filters": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": False,
                "patternProperties": {NAME: entry},
            },
        },
        "$defs": {name: _mapping(definition) for name, definition in definitions.items()},
    }


def rendered() -> str:
    return json.dumps(catalogue_schema(), indent=2) + "\n"


def _mapping(schema: dict[str, Any]) -> dict[str, Any]:
    # pydantic states each absent value as `default: null`, which no file may write.
    properties = {
        key: {name: value for name, value in rule.items() if name not in {"default", "title"}}
        for key, rule in schema["properties"].items()
    }
    return {**schema, "properties": properties}


if __name__ == "__main__":
    Path(FILE).write_text(rendered())
    sys.stdout.write(f"wrote {FILE}\n")
