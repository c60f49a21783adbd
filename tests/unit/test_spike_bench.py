"""The bench of the two signals reads the last spike's report, or says what to run."""

from typing import Any

import pytest

from lab.bench import spike


def report(**more: Any) -> dict[str, Any]:
    figures = {"late_share": 0.001, "time_to_capacity_s": 90.0, "worker_seconds": 1e4, "peak_workers": 60}
    ours = {**figures, "wait_p99_s": 20.0}
    peer = {**figures, "late_share": 0.1, "time_to_capacity_s": None, "wait_p99_s": 200.0}
    return {"interrupted": False, "filters": {"ghibli": ours, "ghibli-ratio": peer}, **more}


def test_each_figure_of_demand_stands_beside_that_of_ratio():
    rows = {row.name: row for row in spike.rows(report())}
    assert set(rows) == {"late_share", "time_to_capacity_s", "worker_seconds", "peak_workers", "wait_p99_s"}
    assert (rows["late_share"].ours, rows["late_share"].peer, rows["late_share"].ratio) == (0.001, 0.1, 0.01)
    assert rows["wait_p99_s"].runs == [20.0]


def test_capacity_never_reached_is_no_number():
    [row] = [row for row in spike.rows(report()) if row.name == "time_to_capacity_s"]
    assert (row.peer, row.ratio) == (None, None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (report(filters={"ghibli": {}}), "no ghibli-ratio.*make spike"),
        (report(interrupted=True), "interrupted.*make spike"),
    ],
)
def test_a_spike_that_compares_nothing_is_refused_with_the_next_command(given, said):
    with pytest.raises(spike.NoSpikeError, match=said):
        spike.rows(given)


def test_without_a_spike_it_says_what_to_run(monkeypatch, tmp_path):
    monkeypatch.setattr(spike, "REPORT", tmp_path / "report.json")
    with pytest.raises(spike.NoSpikeError, match="make up, then make spike"):
        spike.run()
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(spike.NoSpikeError, match="no JSON"):
        spike.run()
