"""An answer is made when it is first asked for, and is of the time of its sample even so."""

import gc
from pathlib import Path
from threading import Thread
from weakref import ref

from hypothesis import given
from hypothesis.strategies import floats, integers, lists, tuples

from metrics_server import Config, FilterSpec, Sampler
from metrics_server.sources import Counts, Table
from surge.policy.demand import WINDOWS_S
from surge.policy.history import History, Sample

UNUSED = Path("unused")
STEPS = lists(tuples(floats(0.5, 200), integers(0, 400), integers(0, 5_000)), min_size=1, max_size=120)


def sampler(filters: int = 1) -> Sampler:
    nodes = ("http://127.0.0.1:1",)
    made = Sampler(Config("127.0.0.1", 0, None, None, UNUSED, nodes, "surge", 2, 20, WINDOWS_S, UNUSED))
    made.use({str(name): FilterSpec(str(name), str(name), 1, 8, 60, 1.06) for name in range(filters)})
    return made


@given(STEPS, integers(0, 119))
def test_windows_until_a_sample_are_those_of_a_history_that_ends_there(steps, cut):
    at, samples = 0.0, []
    for passed, unacked, ready in steps:
        at += passed
        samples.append(Sample(at, unacked, ready))
    cut = min(cut, len(samples) - 1)
    # The same samples, but nothing of the horizon is forgotten yet.
    whole = History(1e9, 8.0, samples)
    short = History(1e9, 8.0, samples[: cut + 1])
    assert whole.windows(WINDOWS_S, samples[cut].at) == short.windows(WINDOWS_S)


def fold(into: Sampler, step: int) -> None:
    counts = {name.encode(): Counts(step % 50, step % 7, 5) for name in into.snapshot.known}
    into.fold(into.nodes[0], Table.of(counts), started=step * 2.0, unix=0.0)


def prompt_answers(steps: int) -> list[bytes]:
    """The answers of a server that is asked at each sample."""
    ours, seen = sampler(), []
    for step in range(steps):
        fold(ours, step)
        seen.append(ours.snapshot.rows["0"].body)
    return seen


def test_a_row_that_is_asked_a_sample_late_answers_as_it_would_have_then():
    ours, before = sampler(), None
    for step, answer in enumerate(prompt_answers(400)):
        fold(ours, step)
        if before is not None:
            assert before[0].body == before[1]
        before = ours.snapshot.rows["0"], answer


def test_a_scrape_in_another_thread_sees_whole_samples_only():
    ours, prompt = sampler(50), prompt_answers(300)
    wrong: list[object] = []
    ended: list[bool] = []

    def scrape() -> None:
        while not ended:
            row = ours.snapshot.rows.get("0")
            if row is None or row.body == prompt[int(row.started / 2)]:
                continue
            # A thread that slept for several samples may find the oldest of them forgotten.
            if ours.snapshot.rows["0"].started - row.started <= 2.0:
                wrong.append(row)

    scraping = Thread(target=scrape)
    scraping.start()
    for step in range(300):
        fold(ours, step)
    ended.append(True)
    scraping.join()
    assert wrong == []


def test_a_row_keeps_the_service_time_that_was_known_at_its_sample():
    ours = sampler()
    fold(ours, 0)
    row = ours.snapshot.rows["0"]
    for at in range(3):
        ours.service_times.fold(600.0 * at, {"n": {b"0": {b"c": 900.0 * at}}}, {"0": 14_400.0 * at})
    fold(ours, 1)
    assert row.service == (8.0, 0.0)
    assert ours.snapshot.rows["0"].service.service_s > 15


def test_an_answer_goes_when_the_next_one_comes_without_the_collector():
    ours = sampler(3)
    fold(ours, 0)
    rows = [row.body for row in ours.snapshot.rows.values()]
    old = ref(ours.snapshot.rows["0"].read)
    gc.disable()
    try:
        fold(ours, 1)
        assert len(rows) == 3
        assert old() is None
    finally:
        gc.enable()
