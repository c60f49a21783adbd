"""A catalogue the size of the case study's: 1,200 filters on some 1,000 GPUs, the same at every call.

Three quarters are seldom used and rest at zero; a sixth are interactive, the rest are batches. Of
those on GPUs of their own some need two cards or eight; others take part of a card, or a pair of
containers on one. What a filter looks like follows from its name alone.
"""

import hashlib
import random
from collections.abc import Mapping
from typing import Any

import yaml

__all__ = ["COUNT", "SETTINGS", "catalogue_text", "document", "extended", "renewed", "widened"]

COUNT = 1_200
# 1,040 GPUs, in real time: KEDA asks for each filter at rest every 18 s, as on a real cluster.
SETTINGS: Mapping[str, Any] = {
    "stack-kind": "local",
    "time-factor": 1,
    "cluster": {
        "name": "bench",
        "nodes": 45,
        "gpus-per-node": 16,
        "pools": {
            "shared": {"kind": "shared", "nodes": 10, "gpus-per-node": 16},
            "pairs": {"kind": "pairs", "nodes": 10, "gpus-per-node": 16, "slots": 4},
        },
    },
}
DEFAULTS: Mapping[str, Any] = {
    "interactive": {"longest-job-s": 60, "owner": "effects"},
    "batch": {"slo-s": 3_600, "drain-s": 900, "longest-job-s": 300, "owner": "archive"},
    "scale-to-zero": {"min": 0, "slo-s": 180, "longest-job-s": 300, "owner": "effects-lab"},
}
CLASSES = {"scale-to-zero": 75, "interactive": 17, "batch": 8}
SHAPES = {"whole": 60, "part": 25, "pair": 10, "two": 4, "eight": 1}


def document(count: int = COUNT) -> dict[str, Any]:
    """The catalogue as a mapping: what a team would write into filters.yaml."""
    return {"defaults": dict(DEFAULTS), "filters": dict(_entry(number) for number in range(count))}


def catalogue_text(count: int = COUNT) -> str:
    return yaml.dump(document(count), Dumper=yaml.CSafeDumper, sort_keys=False)


def renewed(catalogue: Mapping[str, Any], version: str, *, running: bool = False) -> dict[str, Any]:
    """The catalogue with another image for one entry in its middle. running: one that has a worker."""
    names = [name for name, entry in catalogue["filters"].items() if ("min" in entry) == running]
    name = sorted(names)[len(names) // 2]
    return _with(catalogue, name, {"image": _image(name, version)})


def widened(catalogue: Mapping[str, Any]) -> dict[str, Any]:
    """The catalogue with room for one worker more in one entry."""
    name = min(catalogue["filters"])
    return _with(catalogue, name, {"max": catalogue["filters"][name]["max"] + 1})


def extended(catalogue: Mapping[str, Any]) -> dict[str, Any]:
    """The catalogue with one entry more, at rest as most are."""
    name = "filter-new"
    entry = {"class": "scale-to-zero", "image": _image(name), "service-s": 4, "warmup-s": 3, "max": 8}
    return _with(catalogue, name, entry)


def _with(catalogue: Mapping[str, Any], name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    filters = dict(catalogue["filters"])
    filters[name] = {**filters.get(name, {}), **changes}
    return {**catalogue, "filters": filters}


def _entry(number: int) -> tuple[str, dict[str, Any]]:
    name = f"filter-{number:04d}"
    chance = random.Random(name)
    kind, shape = _drawn(chance, CLASSES), _drawn(chance, SHAPES)
    entry: dict[str, Any] = {
        "image": _image(name),
        "service-s": chance.choice((1, 2, 4, 8, 20, 40)),
        # Short: an update waits for its workers, and is measured here, not the loading of models.
        "warmup-s": chance.choice((2, 3, 4)),
        "max": chance.choice((4, 8, 16, 40)),
        **_gpu(name, shape),
    }
    if kind != "interactive":
        entry["class"] = kind
    if kind != "scale-to-zero":
        entry["min"] = 1
    if kind == "interactive" and chance.random() < 0.2:
        entry |= {"signal": "ratio", "target": 0.7}
    return name, entry


def _gpu(name: str, shape: str) -> dict[str, Any]:
    trainer = {"image": _image(f"{name}-trainer"), "memory-mib": 20_000, "cores": 25}
    return {
        "whole": {},
        "two": {"gpus": 2},
        "eight": {"gpus": 8},
        "part": {"gpu": {"memory-mib": 10_000, "cores": 20}},
        "pair": {"gpu": {"memory-mib": 16_000, "cores": 20, "trainer": trainer}},
    }[shape]


def _drawn(chance: random.Random, shares: Mapping[str, int]) -> str:
    [drawn] = chance.choices(list(shares), weights=list(shares.values()))
    return drawn


def _image(name: str, version: str = "first") -> str:
    digest = hashlib.sha256(f"{name} {version}".encode()).hexdigest()
    return f"registry.example/filters/{name}@sha256:{digest}"
