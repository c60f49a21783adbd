import pytest

from lab.bench.scale_in import rows
from lab.deletion_cost import simulate


def report(busy: int, patches: float) -> dict[str, object]:
    of = {
        "idle-first": {"victims": 40, "busy_victims": busy},
        "any-order": {"victims": 50, "busy_victims": 20},
    }
    return {"filters": of, "patches": patches}


def test_the_shares_of_busy_victims_are_medians_of_the_runs():
    share, patches = rows([report(1, 100), report(2, 80), report(9, 200)])
    assert (share.ours, share.peer, share.ratio) == (0.05, 0.4, 0.125)
    assert (patches.ours, patches.peer) == (2.5, None)


@pytest.mark.long
def test_marks_spare_long_work_with_fewer_writes_than_workers_that_mark_themselves():
    none, workers, marks = (simulate(60, way) for way in ("none", "workers", "marks"))
    assert marks.busy_share < none.busy_share / 4
    assert marks.patches_per_s < workers.patches_per_s / 2
