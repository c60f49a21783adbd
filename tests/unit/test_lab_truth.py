"""What a queue's account calls known, around a change."""

from lab.truth import Account, Truth


def test_before_any_change_there_is_no_queue():
    assert Account(settle_s=1).known(10, 20) == Truth(0, None)


def test_a_truth_is_known_between_changes_and_unknown_around_them(monkeypatch):
    clock = iter([100.0, 101.0, 102.0, 200.0, 201.0, 202.0])
    monkeypatch.setattr("lab.truth.time.time", lambda: next(clock))
    account = Account(settle_s=5)
    for change in (Truth(0, 2), Truth(9, 2)):
        with account.changing():
            account.becomes(change)
    assert account.known(50, 99) == Truth(0, None)
    assert account.known(50, 100) is None
    assert account.known(106, 120) is None
    assert account.known(108, 199) == Truth(0, 2)
    assert account.known(108, 200) is None
    assert account.known(208, 300) == Truth(9, 2)


def test_a_change_under_way_leaves_everything_after_it_unknown():
    account = Account(settle_s=0)
    with account.changing():
        assert account.known(0, float("inf")) is None


def test_workers_hold_at_most_their_slots():
    assert [Truth(messages, 2).unacked for messages in (0, 7, 8, 20)] == [0, 7, 8, 8]
