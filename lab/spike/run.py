"""One spike, from the first request to the last: publish, watch, wait until it is over."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event, Thread

from lab.publisher import Publisher, PublishRefusedError
from lab.spike.shape import Shape, arrivals
from surge.cli.reading import Reader
from surge.cli.state import FilterState
from surge.stack_outputs import RunningStack

__all__ = ["Course", "LateScheduleError", "replay"]

LOOK_S = 1.5
# Each waits for the broker's confirm before it publishes the next: one alone falls behind a busy broker.
PUBLISHERS = 4
# Beyond this the machine is too slow for the shape, and the arrivals are no Poisson process any more.
LATEST_S = 5.0
# The longest way down: the ratio's window of five minutes, the cooldown of ten, and their tails.
MODEL_S_TO_REST = 1800.0

Show = Callable[[float, str, Sequence[FilterState], Mapping[str, int]], None]


class LateScheduleError(Exception):
    """The publisher could not keep the shape's pace."""


@dataclass
class Course:
    """What is known of a run when it is over. start, end: unix times. lag_s: the publisher's worst."""

    start: float
    end: float = 0.0
    lag_s: float = 0.0
    published: dict[tuple[str, str], float] = field(default_factory=dict)
    at_minimum: dict[str, bool] = field(default_factory=dict)
    interrupted: bool = False
    refusal: PublishRefusedError | None = None


def replay(stack: RunningStack, shape: Shape, seed: int, show: Show) -> Course:
    """A KeyboardInterrupt ends the publishing, the queues are drained still; a second one ends that too.

    Raises LateScheduleError, PublishRefusedError.
    """
    services = {name: float(stack.filters[name]["service_s"]) for name in shape.busy}
    schedule = arrivals(shape, services, seed)
    stop = Event()
    course = Course(time.time())
    url = stack.access["publisher_url"]
    publishers = [Publisher(url, stop, course.published) for _ in range(PUBLISHERS)]
    threads = [
        Thread(
            target=_publish,
            args=(publisher, schedule[first::PUBLISHERS], stack.time_factor, course, stop),
            daemon=True,
        )
        for first, publisher in enumerate(publishers)
    ]
    with Reader(stack) as reader:
        for thread in threads:
            thread.start()
        _watch(reader, stack, shape, course, show, until=lambda _: not any(map(Thread.is_alive, threads)))
        stop.set()
        for thread in threads:
            thread.join()
        course.lag_s = max(publisher.lag_s for publisher in publishers)
        if course.refusal is not None:
            raise course.refusal
        if course.lag_s > LATEST_S:
            raise LateScheduleError(
                f"requests went out {course.lag_s:.1f} s late with the broker there: this machine cannot "
                f"keep the pace of {len(schedule)} messages, and a late load is another load. Use a smaller "
                "shape, or a smaller time-factor in Pulumi.local.yaml"
            )
        deadline = time.monotonic() + MODEL_S_TO_REST / stack.time_factor
        _watch(
            reader,
            stack,
            shape,
            course,
            show,
            until=lambda states: time.monotonic() > deadline or all(map(_at_rest, states)),
        )
    course.end = time.time()
    return course


def _publish(
    publisher: Publisher, schedule: Sequence[tuple[float, str]], factor: float, course: Course, stop: Event
) -> None:
    """Publish a part of the schedule; whoever cannot go on stops the others too."""
    try:
        for at_s, name in schedule:
            due = course.start + at_s / factor
            if not publisher.publish_at(due, name) or publisher.lag_s > LATEST_S:
                stop.set()
                break
    except PublishRefusedError as refusal:
        course.refusal = refusal
        stop.set()
    finally:
        publisher.close()


def _watch(
    reader: Reader,
    stack: RunningStack,
    shape: Shape,
    course: Course,
    show: Show,
    *,
    until: Callable[[Sequence[FilterState]], bool],
) -> None:
    """Look until `until` says that it is enough, or a KeyboardInterrupt comes, which the course notes."""
    try:
        while not until(_look(reader, stack, shape, course, show)):
            time.sleep(LOOK_S)
    except KeyboardInterrupt:
        course.interrupted = True


def _look(
    reader: Reader, stack: RunningStack, shape: Shape, course: Course, show: Show
) -> Sequence[FilterState]:
    states = [state for state in reader.read().filters if state.name in shape.busy]
    at_s = (time.time() - course.start) * stack.time_factor
    course.at_minimum = {state.name: _at_rest(state) for state in states}
    # A copy: the publisher adds to it meanwhile.
    published = Counter(name for name, _ in course.published.copy())
    show(at_s, _phase(shape, at_s, states), states, {name: published[name] for name in shape.busy})
    return states


def _phase(shape: Shape, at_s: float, states: Sequence[FilterState]) -> str:
    """After the load: what it still waits for."""
    phase = shape.phase(at_s)
    awaited = [state.name for state in states if not _at_rest(state)]
    if phase != "rest" or not awaited:
        return phase
    return f"load over, waiting for empty queues and the minimum of workers of {', '.join(awaited)}"


def _at_rest(state: FilterState) -> bool:
    """Nothing waits, nobody works, and only the minimum is there."""
    return (
        state.backlog == 0
        and state.busy == 0
        and state.ready == state.minimum
        and state.desired in {None, state.minimum}
    )
