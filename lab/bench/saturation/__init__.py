"""The saturation server against a real broker: its cost, its speed, the age of its numbers."""

import importlib

from lab.bench import Row

__all__ = ["run"]

# In the order of their run; each is a module in this folder with a function `run() -> list[Row]`.
PARTS = ("fold", "answers", "broker")


def run() -> list[Row]:
    return [row for part in PARTS for row in importlib.import_module(f"{__name__}.{part}").run()]
