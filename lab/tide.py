"""Load that comes and goes on two equal filters of a stack of their own, one without deletion cost."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from lab.checkout import Checkout, scratch_checkout
from surge.policy.ports import Ports

__all__ = ["PLAIN", "PRICED", "Tide", "tide"]

PRICED, PLAIN = "idle-first", "any-order"
PATCHES = "surge_scale_in_patches_total"
ENTRY = {
    "image": f"registry.example/filters/tide@sha256:{'0' * 64}",
    # Eight seconds of the wall: a mark is a second old, and of jobs of two it knows little.
    "service-s": 60,
    "warmup-s": 60,
    "min": 10,
    "max": 80,
    "longest-job-s": 360,
    "owner": "lab",
}
# Six minutes and a half of the model: most of it is the window for which the HPA waits before it goes down.
SHAPE = {
    "busy": {PRICED: 16, PLAIN: 16},
    "factor": 2.5,
    "growth": "step",
    "base-s": 300,
    "growth-s": 0,
    "plateau-s": 90,
    "decay-s": 0,
}


@dataclass(frozen=True)
class Tide:
    """checkout: with the running stack. port: of the marking process's metrics."""

    checkout: Checkout
    port: int

    def run(self, times: int, seed: int = 1) -> Mapping[str, Any]:
        """The report of `times` tides, with `patches`: what the marking took of the API server.

        Raises RuntimeError with what was said when there is no report.
        """
        shape = self.checkout.root / "tide.yaml"
        shape.write_text(json.dumps({**SHAPE, "times": times}))
        written = self.checkout.root / "build" / "spike" / "report.json"
        written.unlink(missing_ok=True)
        before = self._patches()
        arguments = ("--shape", str(shape), "--seed", str(seed))
        done = self.checkout.module("lab.spike", *arguments, check=False, timeout_s=7200)
        if not written.exists():
            raise RuntimeError(f"no report of the tides: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return json.loads(written.read_text()) | {"patches": self._patches() - before}

    def _patches(self) -> float:
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(PATCHES))


@contextmanager
def tide(base_port: int) -> Iterator[Tide]:
    """A stack of the two filters, from `base_port` on."""
    settings = {"scale-in": {"leave": [PLAIN]}}
    with (
        tempfile.TemporaryDirectory(prefix="surge-tide-") as folder,
        scratch_checkout(Path(folder), base_port=base_port, settings=settings) as checkout,
    ):
        catalogue = {"filters": {PRICED: ENTRY, PLAIN: ENTRY}}
        (checkout.root / "filters.yaml").write_text(json.dumps(catalogue))
        checkout.surge("up", "local")
        yield Tide(checkout, Ports(base_port).scale_in)
