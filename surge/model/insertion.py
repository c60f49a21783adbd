"""An entry put into the text of a catalogue's file, with every line of the others left as it is."""

from collections.abc import Mapping
from typing import Any

import yaml

from surge.model.filter import Filter

__all__ = ["inserted"]

INDENT = 2


def inserted(text: str, name: str, entry: Mapping[str, Any], after: str | None = None) -> str:
    """Return `text` with the entry behind that of filter `after`, or behind the last one.

    Raises ValueError when the file has no block of filters to put it into.
    """
    ending = "\r" if "\r\n" in text else ""
    if not text.strip():
        return "".join(f"{line}{ending}\n" for line in ["filters:", *_lines(name, entry, INDENT)])
    neighbour, indent = _neighbour(text, after)
    lines = text.removesuffix("\n").split("\n")
    place = _last_line(neighbour) + 1
    if place == len(lines):
        lines[-1] = lines[-1].removesuffix("\r") + ending
    lines[place:place] = [line + ending for line in _lines(name, entry, indent)]
    return "\n".join([*lines, ""])


def _neighbour(text: str, after: str | None) -> tuple[yaml.Node, int]:
    """The value of the entry to stand behind, and the column of its key."""
    root = yaml.compose(text, Loader=yaml.CSafeLoader)
    section = _value(root, "filters")
    if not isinstance(section, yaml.MappingNode) or section.flow_style or not section.value:
        raise ValueError("there is no block `filters:` with an entry on lines of its own")
    found = [pair for pair in section.value if pair[0].value == after] or section.value[-1:]
    key, value = found[0]
    return value, key.start_mark.column


def _value(root: yaml.Node | None, wanted: str) -> yaml.Node | None:
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    return next((value for key, value in pairs if key.value == wanted), None)


def _last_line(node: yaml.Node) -> int:
    """The line, from 0, on which the text of a node ends; what follows a block is not its own."""
    if not isinstance(node, yaml.CollectionNode) or node.flow_style or not node.value:
        # A literal ends where the next line begins.
        return node.end_mark.line - (node.end_mark.column == 0 and node.end_mark.line > node.start_mark.line)
    last = node.value[-1]
    return _last_line(last[1] if isinstance(last, tuple) else last)


def _lines(name: str, entry: Mapping[str, Any], indent: int) -> list[str]:
    """The entry as lines, its keys in the order of the model's."""
    order = [field.alias or key for key, field in Filter.model_fields.items()]
    known = {key: entry[key] for key in order if key in entry}
    text = yaml.safe_dump({name: {**known, **entry}}, sort_keys=False, allow_unicode=True, width=1_000)
    return [" " * indent + line for line in text.splitlines()]
