"""The shape of a spike: how the load of each filter goes over time. `lab/shapes/*.yaml`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from surge.model import ProblemsError
from surge.model.base import Seconds, Strict, problems_of
from surge.model.problems import Path as Keys
from surge.model.problems import did_you_mean, shown
from surge.model.yaml_reader import read_yaml

__all__ = ["FilterLoad", "Knot", "Shape", "read_shape"]

# An exponential growth is drawn by this many straight lines: off by less than 0.5 % of the rate.
LINES = 20


class FilterLoad(Strict):
    """busy_workers: how many slots the base load keeps busy; its rate is busy_workers / service_s."""

    busy_workers: float = Field(gt=0, le=100_000)
    same_arrivals_as: str | None = None


class Curve(Strict):
    """Times in model seconds. growth_s 0 is a step. factor: the plateau's load, in base loads."""

    title: str
    factor: float = Field(ge=1, le=1000)
    base_s: Seconds
    growth_s: Annotated[float, Field(ge=0, le=86_400)]
    growth: Literal["linear", "exponential"] = "linear"
    plateau_s: Seconds
    decay_s: Annotated[float, Field(ge=0, le=86_400)]
    compare: list[str] = Field(default_factory=list, max_length=4)


@dataclass(frozen=True)
class Knot:
    """at_s: model seconds after the growth began. times_base: the load there, in base loads."""

    at_s: float
    times_base: float


@dataclass(frozen=True)
class Shape:
    """name: of the file. compare: the filters drawn side by side."""

    name: str
    curve: Curve
    filters: Mapping[str, FilterLoad]

    @property
    def compare(self) -> Sequence[str]:
        return self.curve.compare or list(self.filters)[:2]

    @property
    def length_s(self) -> float:
        """Model seconds from the growth's beginning to the end of the decay."""
        return self.curve.growth_s + self.curve.plateau_s + self.curve.decay_s

    def knots(self) -> list[Knot]:
        """The load after the base, as straight lines between knots; a jump is two knots at one time."""
        curve = self.curve
        steps = LINES if curve.growth == "exponential" and curve.growth_s else 1
        if curve.growth == "exponential":
            rise = [
                Knot(curve.growth_s * part / steps, curve.factor ** (part / steps))
                for part in range(steps + 1)
            ]
        else:
            rise = [Knot(0.0, 1.0), Knot(curve.growth_s, curve.factor)]
        return [*rise, Knot(curve.growth_s + curve.plateau_s, curve.factor), Knot(self.length_s, 1.0)]

    def phase(self, at_s: float) -> str:
        """What happens `at_s` model seconds after the growth began."""
        curve = self.curve
        if at_s < curve.growth_s:
            return "growth"
        return "plateau" if at_s < curve.growth_s + curve.plateau_s else "decay"

    def only(self, names: Sequence[str]) -> "Shape":
        """The same for some of its filters. Raises ProblemsError for a name it has not."""
        problems = [
            f"{self.name}: no filter {shown(name)} in this shape{did_you_mean(name, self.filters)}"
            for name in names
            if name not in self.filters
        ]
        if problems:
            raise ProblemsError(problems)
        kept = {name: self.filters[name] for name in self.filters if name in names}
        compare = [name for name in self.compare if name in kept]
        return Shape(self.name, self.curve.model_copy(update={"compare": compare}), kept)


def read_shape(path: Path) -> Shape:
    """Return the shape in a file. Raises ProblemsError, every problem at once, one line each."""
    document = read_yaml(path)
    root = document.value
    if not isinstance(root, Mapping):
        raise ProblemsError([document.problem((), f"{shown(root)} where a mapping should be")])
    given = {key: value for key, value in root.items() if key != "filters"}
    problems: list[tuple[Keys, str]] = problems_of(Curve, given, ())
    filters, found = _filters(root.get("filters"))
    problems += found
    if not found and isinstance(given.get("compare"), list):
        problems += [
            (("compare",), f"no filter {shown(name)} in this shape{did_you_mean(name, filters)}")
            for name in given["compare"]
            if name not in filters
        ]
    if problems:
        raise ProblemsError([document.problem(keys, text) for keys, text in problems])
    return Shape(path.stem, Curve.model_validate(given), filters)


def _filters(given: Any) -> tuple[dict[str, FilterLoad], list[tuple[Keys, str]]]:
    if not isinstance(given, Mapping) or not given:
        return {}, [(("filters",), "want a mapping with at least one filter")]
    problems: list[tuple[Keys, str]] = []
    filters: dict[str, FilterLoad] = {}
    for name, entry in given.items():
        if not isinstance(entry, Mapping):
            problems.append((("filters", name), f"{shown(entry)} is not a mapping"))
            continue
        found = problems_of(FilterLoad, entry, ())
        problems += [(("filters", name, *keys), text) for keys, text in found]
        if not found:
            filters[name] = FilterLoad.model_validate(entry)
    for name, load in filters.items():
        twin = load.same_arrivals_as
        if twin is not None and twin not in given:
            text = f"no filter {shown(twin)} in this shape{did_you_mean(twin, given)}"
            problems.append((("filters", name, "same-arrivals-as"), text))
    return filters, problems
