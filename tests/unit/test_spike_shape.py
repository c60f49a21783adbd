"""Shapes as files, and the arrivals that come out of them."""

from itertools import pairwise
from pathlib import Path

import pytest

from lab.spike.shape import Shape, arrivals
from surge.model import Catalogue, ProblemsError

ROOT = Path(__file__).resolve().parents[2]
SHAPES = sorted((ROOT / "lab" / "shapes").glob("*.yaml"))
FACTOR = 7.5

GOOD = """\
busy: {ghibli: 7, ghibli-ratio: 7, sketch: 2}
factor: 7
growth: linear
base-s: 100
growth-s: 200
plateau-s: 300
decay-s: 100
"""
SERVICES = {"ghibli": 8.0, "ghibli-ratio": 8.0, "sketch": 2.0}


@pytest.fixture
def read(tmp_path):
    def read(text: str) -> Shape:
        file = tmp_path / "shape.yaml"
        file.write_text(text)
        return Shape.read(file)

    return read


def problems(read, text: str) -> list[str]:
    with pytest.raises(ProblemsError) as caught:
        read(text)
    return caught.value.problems


def test_step_ramp_ghibli_and_smoke_ship():
    assert {"ghibli", "ramp", "smoke", "step"} <= {file.stem for file in SHAPES}


@pytest.mark.parametrize("file", SHAPES, ids=lambda file: file.stem)
def test_a_shipped_shape_loads_filters_of_the_sample_catalogue_seven_times_within_their_limits(file):
    shape = Shape.read(file)
    catalogue = Catalogue.read(ROOT / "filters.yaml")
    assert shape.factor == 7
    assert {"ghibli", "ghibli-ratio"} <= set(shape.busy)
    for name, busy in shape.busy.items():
        entry = catalogue[name]
        assert busy <= entry.min * entry.slots
        assert busy * shape.factor < entry.max * entry.slots


def test_the_smoke_shape_is_at_most_75_wall_seconds_of_load():
    assert Shape.read(ROOT / "lab" / "shapes" / "smoke.yaml").length_s / FACTOR <= 75


def test_the_load_goes_from_base_over_growth_and_plateau_back_to_base(read):
    shape = read(GOOD)
    assert [shape.multiple(at) for at in (0, 99, 200, 300, 599)] == pytest.approx([1, 1, 4, 7, 7])
    assert shape.multiple(700) == pytest.approx(1)
    assert [shape.phase(at) for at in (0, 150, 400, 650, 800)] == [
        "base",
        "growth",
        "plateau",
        "decay",
        "rest",
    ]


def test_an_exponential_growth_doubles_in_equal_times(read):
    shape = read(GOOD.replace("linear", "exponential"))
    grown = [shape.multiple(100 + part * 50) for part in range(4)]
    assert all(after / before == pytest.approx(7**0.25) for before, after in pairwise(grown))


def test_a_step_is_there_at_once(read):
    shape = read(GOOD.replace("linear", "step").replace("growth-s: 200", "growth-s: 0"))
    assert shape.multiple(99.999) == 1
    assert shape.multiple(100) == 7


def test_a_step_that_takes_time_is_refused(read):
    assert problems(read, GOOD.replace("linear", "step")) == [
        "shape.yaml:5: growth-s: a step takes no time: want 0, or growth: linear or exponential"
    ]


def test_every_problem_is_told_at_once_with_its_line(read):
    text = (
        GOOD.replace("plateau-s: 300", "plateau: 300")
        .replace("factor: 7", "factor: 0")
        .replace("linear", "liner")
    )
    found = problems(read, text)
    assert len(found) == 4
    assert any(line.startswith("shape.yaml:2: factor: 0 is out of range") for line in found)
    assert any('unknown value "liner", did you mean "linear"?' in line for line in found)
    assert any('plateau: unknown key, did you mean "plateau-s"?' in line for line in found)
    assert any("plateau-s: missing" in line for line in found)


@pytest.mark.parametrize("text", ["", "[]", "7", "busy: {}\n"])
def test_what_is_no_shape_is_refused(read, text):
    assert problems(read, text)


def test_arrivals_are_in_order_and_within_the_load(read):
    shape = read(GOOD)
    found = arrivals(shape, SERVICES, 1)
    assert all(before <= after for before, after in pairwise(found))
    assert found[0][0] >= 0
    assert found[-1][0] < shape.length_s


def test_the_same_seed_gives_the_same_arrivals_and_another_seed_others(read):
    shape = read(GOOD)
    assert arrivals(shape, SERVICES, 1) == arrivals(shape, SERVICES, 1)
    assert arrivals(shape, SERVICES, 1) != arrivals(shape, SERVICES, 2)


def test_the_two_ghibli_filters_get_requests_at_the_same_moments_and_sketch_does_not(read):
    found = arrivals(read(GOOD), SERVICES, 1)
    times = {name: [at for at, of_filter in found if of_filter == name] for name in SERVICES}
    assert times["ghibli"] == times["ghibli-ratio"]
    assert set(times["ghibli"]).isdisjoint(times["sketch"])


@pytest.mark.long
def test_arrivals_follow_the_rate_in_every_phase(read):
    """Counts are Poisson: 200 runs, and six standard deviations of room."""
    shape = read(GOOD.replace("{ghibli: 7, ghibli-ratio: 7, sketch: 2}", "{ghibli: 7}"))
    runs = [arrivals(shape, {"ghibli": 8.0}, seed) for seed in range(200)]
    base = 7 / 8
    expected = {
        (0, 100): 100 * base,
        (100, 300): 200 * base * 4,
        (300, 600): 300 * base * 7,
    }
    for (start, end), mean in expected.items():
        count = sum(start <= at < end for run in runs for at, _ in run) / len(runs)
        assert count == pytest.approx(mean, abs=6 * (mean / len(runs)) ** 0.5)


def test_a_shape_may_come_several_times(read):
    once, thrice = read(GOOD), read(GOOD + "times: 3\n")
    assert thrice.length_s == 3 * once.length_s
    for at_s in (50.0, 250.0, 450.0, 650.0):
        assert {thrice.multiple(at_s + turn * once.length_s) for turn in range(3)} == {once.multiple(at_s)}
        assert {thrice.phase(at_s + turn * once.length_s) for turn in range(3)} == {once.phase(at_s)}
    assert thrice.phase(thrice.length_s) == "rest"
