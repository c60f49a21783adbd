"""The bench of the two signals puts medians side by side."""

from typing import Any

from lab.bench import spike


def report(late: float, capacity: float | None) -> dict[str, Any]:
    figures = {"time_to_capacity_s": 90.0, "worker_seconds": 1e4, "peak_workers": 60, "wait_p99_s": 20.0}
    return {
        "filters": {
            "ghibli": {**figures, "late_share": late},
            "ghibli-ratio": {**figures, "late_share": 0.1, "time_to_capacity_s": capacity},
        }
    }


def test_each_figure_of_demand_stands_beside_that_of_ratio():
    rows = {
        row.name: row
        for row in spike.rows([report(0.003, 180.0), report(0.001, 170.0), report(0.002, 200.0)])
    }
    late, capacity = rows["late_share"], rows["time_to_capacity_s"]
    assert (late.ours, late.peer, late.ratio) == (0.002, 0.1, 0.02)
    assert (capacity.ours, capacity.peer, capacity.ratio) == (90.0, 180.0, 0.5)
    assert late.runs == [0.003, 0.001, 0.002]


def test_capacity_that_was_never_reached_is_no_number():
    [capacity] = [row for row in spike.rows([report(0.0, None)]) if row.name == "time_to_capacity_s"]
    assert (capacity.ours, capacity.peer, capacity.ratio) == (90.0, None, None)
