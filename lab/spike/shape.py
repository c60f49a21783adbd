"""How arrivals change over a spike: base, growth, plateau, decay."""

import random
from math import exp, log
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError

from surge.model.base import Strict
from surge.model.problems import ProblemsError, describe
from surge.model.yaml_reader import read_yaml

__all__ = ["Shape", "arrivals"]

Duration = Annotated[float, Field(ge=0, le=86_400)]


class Shape(Strict):
    """busy: workers that the base load of each filter keeps busy. times: how often all of it comes, one
    after the other. Times are model seconds."""

    busy: Annotated[dict[str, Annotated[float, Field(gt=0, le=1_000)]], Field(min_length=1)]
    factor: Annotated[float, Field(ge=1, le=100)] = 7
    growth: Literal["step", "linear", "exponential"]
    base_s: Duration
    growth_s: Duration
    plateau_s: Duration
    decay_s: Duration
    times: Annotated[int, Field(ge=1, le=1_000)] = 1

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises ProblemsError with every problem at once."""
        document = read_yaml(path)
        try:
            shape = cls.model_validate(document.value)
        except ValidationError as error:
            raise ProblemsError(document.problem(at, text) for at, text in describe(error, cls)) from error
        if shape.growth == "step" and shape.growth_s > 0:
            text = "a step takes no time: want 0, or growth: linear or exponential"
            raise ProblemsError([document.problem(("growth-s",), text)])
        return shape

    @property
    def length_s(self) -> float:
        return self.times * self._once_s

    @property
    def _once_s(self) -> float:
        return self.base_s + self.growth_s + self.plateau_s + self.decay_s

    def phase(self, at_s: float) -> str:
        bounds = {
            "base": self.base_s,
            "growth": self.growth_s,
            "plateau": self.plateau_s,
            "decay": self.decay_s,
        }
        if at_s >= self.length_s:
            return "rest"
        at_s %= self._once_s
        for name, length in bounds.items():
            if at_s < length:
                return name
            at_s -= length
        return "rest"

    def multiple(self, at_s: float) -> float:
        """The load at `at_s`, as a multiple of the base load."""
        into = at_s % self._once_s - self.base_s
        if into < 0:
            return 1.0
        if into < self.growth_s:
            part = into / self.growth_s
            linear = 1 + (self.factor - 1) * part
            return linear if self.growth == "linear" else exp(log(self.factor) * part)
        into -= self.growth_s + self.plateau_s
        if into < 0:
            return self.factor
        return exp(log(self.factor) * max(0.0, 1 - into / self.decay_s)) if self.decay_s else 1.0


def arrivals(shape: Shape, service_s: dict[str, float], seed: int) -> list[tuple[float, str]]:
    """(model seconds from the start, filter) of every request, in order: Poisson, by thinning.

    Filters of the same load and the same work get the same arrivals, whatever their names.
    """
    found: list[tuple[float, str]] = []
    for name, busy in shape.busy.items():
        stream = random.Random(f"{seed}:{busy}:{service_s[name]}")
        highest = shape.factor * busy / service_s[name]
        at_s = stream.expovariate(highest)
        while at_s < shape.length_s:
            if stream.random() * shape.factor < shape.multiple(at_s):
                found.append((at_s, name))
            at_s += stream.expovariate(highest)
    return sorted(found)
