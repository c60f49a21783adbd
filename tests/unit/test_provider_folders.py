"""A cluster's directory, which its processes claim at once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from providers.surge.folders import OWNER, claim, release, write
from providers.surge.problems import ProblemError

CLAIMANTS, ROUNDS = 8, 100


def test_many_claim_one_directory_at_once_and_none_takes_another_for_a_stranger(tmp_path):
    together = Barrier(CLAIMANTS, timeout=30)

    def come(number: int) -> None:
        for turn in range(ROUNDS):
            directory = tmp_path / str(turn)
            together.wait()
            claim(directory)
            write(directory / f"file-{number}", "of ours")

    with ThreadPoolExecutor(CLAIMANTS) as pool:
        for done in [pool.submit(come, number) for number in range(CLAIMANTS)]:
            done.result()
    files = {OWNER, *(f"file-{number}" for number in range(CLAIMANTS))}
    assert {item.name for item in (tmp_path / str(ROUNDS - 1)).iterdir()} == files


def test_a_directory_of_others_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "theirs").write_text("kept")
    with pytest.raises(ProblemError, match=r"theirs and no \.surge-owner"):
        claim(tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == ["theirs"]


def test_a_released_directory_is_gone_unless_others_keep_files_there(tmp_path):
    ours, shared = tmp_path / "ours", tmp_path / "shared"
    for directory in (ours, shared):
        claim(directory)
    (shared / "theirs").write_text("kept")
    for directory in (ours, shared):
        release(directory)
    assert not ours.exists()
    assert [item.name for item in shared.iterdir()] == ["theirs"]
