"""A spike's course: what an interrupt ends, and what is known of the run all the same."""

import time
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any
from uuid import uuid4

import pytest

from lab.publisher import PublishRefusedError
from lab.spike import run
from lab.spike.run import LateScheduleError, replay
from lab.spike.shape import Shape, arrivals
from surge.cli.state import FilterState, Snapshot
from surge.stack_outputs import RunningStack

STACK = RunningStack(
    name="local",
    cluster="a",
    directory="",
    kubeconfig="",
    endpoints={},
    access={"publisher_url": ""},
    filters={"ghibli": {"service_s": 1.0}},
    fleet={},
    time_factor=100.0,
    hpa_sync_s=15,
)
SHAPE = Shape.model_validate(
    {"busy": {"ghibli": 1}, "growth": "step", "base-s": 20, "growth-s": 0, "plateau-s": 20, "decay-s": 0}
)
ALL = len(arrivals(SHAPE, {"ghibli": 1.0}, seed=1))
BUSY = FilterState(name="ghibli", signal="demand", minimum=1, maximum=9, ready=5, busy=5, backlog=3)


class Reader:
    """A stack that never comes to rest."""

    def __init__(self, stack: RunningStack) -> None: ...

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *error: object) -> None: ...

    def read(self) -> Snapshot:
        return Snapshot(filters=[BUSY])


class Publisher:
    """A broker that confirms at once."""

    lag_s = 0.0

    def __init__(self, url: str, stop: Any, published: dict[tuple[str, str], float]) -> None:
        self.published = published
        self.stop = stop

    def publish_at(self, due: float, of_filter: str) -> bool:
        if self.stop.wait(max(0.0, due - time.time())):
            return False
        self.published[of_filter, str(uuid4())] = due
        return True

    def close(self) -> None: ...


class Late(Publisher):
    """One that is behind from its third message on."""

    def publish_at(self, due: float, of_filter: str) -> bool:
        self.lag_s = run.LATEST_S + 1 if len(self.published) > 2 else 0.0
        return super().publish_at(due, of_filter)


class Refused(Publisher):
    def publish_at(self, due: float, of_filter: str) -> bool:
        raise PublishRefusedError(f"no queue for filter {of_filter}")


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch):
    monkeypatch.setattr(run, "Reader", Reader)
    monkeypatch.setattr(run, "Publisher", Publisher)
    monkeypatch.setattr(run, "LOOK_S", 0.01)
    monkeypatch.setattr(run, "MODEL_S_TO_REST", 300.0)


class Keyboard:
    """Ctrl-C at the first look when the first of `moments` has come, then the same for the next."""

    def __init__(self, *moments: Callable[[int], bool]) -> None:
        self.left = list(moments)

    def show(self, at_s: float, phase: str, states: object, published: Mapping[str, int]) -> None:
        del at_s, phase, states
        if self.left and self.left[0](published["ghibli"]):
            self.left.pop(0)
            raise KeyboardInterrupt


def test_an_interrupt_after_the_load_ends_the_wait_and_keeps_the_course():
    looks, began = count(), time.time()
    course = replay(STACK, SHAPE, 1, Keyboard(lambda published: published == ALL and next(looks) == 2).show)
    assert (course.interrupted, next(looks)) == (True, 3)
    assert began < course.end <= time.time()
    assert (len(course.published), course.at_minimum) == (ALL, {"ghibli": False})


def test_an_interrupt_under_load_ends_the_publishing_and_another_one_the_wait():
    keyboard = Keyboard(lambda published: published < ALL, lambda _: True)
    course = replay(STACK, SHAPE, 1, keyboard.show)
    assert (course.interrupted, keyboard.left) == (True, [])
    assert course.end > course.start
    assert len(course.published) < ALL


@pytest.mark.parametrize(("broker", "error"), [(Late, LateScheduleError), (Refused, PublishRefusedError)])
def test_one_publisher_that_cannot_go_on_stops_all(monkeypatch, broker, error):
    monkeypatch.setattr(run, "Publisher", broker)
    with pytest.raises(error):
        replay(STACK, SHAPE, 1, Keyboard().show)
