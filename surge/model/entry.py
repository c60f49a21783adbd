"""Parts of a filter as written: each key may be left out, and comes from elsewhere then."""

from typing import Any

from pydantic import Field, create_model

from surge.model.base import Strict
from surge.model.filter import Filter

__all__ = ["CLASSES", "Defaults", "Entry", "Settable"]

CLASSES = ("batch", "interactive", "pooled", "scale-to-zero")

# Each filter has its own: a default would make two filters share it.
ITS_OWN = frozenset({"name", "image", "model", "service_class", "worker_set", "queue", "target"})
FROM_THE_KEY = frozenset({"name"})
# What a selector looks at first, and what no two filters may have alike.
NOT_SETTABLE = frozenset({"name", "service_class", "queue"})


def _optional(name: str, doc: str, without: frozenset[str]) -> type[Strict]:
    fields: dict[str, Any] = {
        key: (field.rebuild_annotation(), Field(default=None, alias=field.alias))
        for key, field in Filter.model_fields.items()
        if key not in without
    }
    return create_model(name, __base__=Strict, __doc__=doc, **fields)


Defaults = _optional("Defaults", "What the filters of one class have in common.", ITS_OWN)
Settable = _optional("Settable", "What an override gives to the filters it selects.", NOT_SETTABLE)
Entry = _optional("Entry", "A filter as written; what it leaves out comes from its class.", FROM_THE_KEY)
