"""What a worker tells Prometheus, read by Prometheus' own parser."""

from prometheus_client.parser import text_string_to_metric_families

from worker.metrics import OUTCOMES, Tally


def samples(text: str) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("outcome", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_jobs_are_counted_by_their_end_and_slots_while_they_are_busy():
    tally = Tally("ghibli", slots=2)
    tally.jobs["done"] += 3
    tally.busy = 2
    tally.ready = True
    seen = samples(tally.text())
    assert {outcome: seen["surge_worker_jobs_total", outcome] for outcome in OUTCOMES} == {
        "done": 3,
        "failed": 0,
        "handed_back": 0,
        "repeated": 0,
    }
    assert (seen["surge_worker_slots", ""], seen["surge_worker_busy_slots", ""]) == (2, 2)
    assert seen["surge_worker_ready", ""] == 1
    assert (seen["surge_worker_draining_since_seconds", ""], seen["surge_worker_drain_seconds", ""]) == (0, 0)


def test_a_drain_is_timed_from_the_first_stop():
    tally = Tally("ghibli", slots=1)
    tally.drain()
    tally.draining_since = since = (tally.draining_since or 0) - 90
    tally.drain()
    seen = samples(tally.text())
    assert tally.draining_since == since
    assert seen["surge_worker_draining_since_seconds", ""] == float(f"{since:.15g}")
    assert seen["surge_worker_drain_seconds", ""] >= 90
