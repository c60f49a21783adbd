"""A pair's hand-over, between two real processes and against every way to do it by halves."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from worker import pair

TRAINER = """
import sys, time
from worker import pair
with pair.hand_over() as folder:
    (folder / "adapter").mkdir()
    (folder / "adapter" / "lora.safetensors").write_bytes(sys.argv[1].encode() * 100_000)
    (folder / "config.json").write_text("{}")
    print("written", flush=True)
    sys.stdin.readline()
print("handed over", flush=True)
"""
INFERER = """
from worker import pair
taken = pair.take(deadline_s=60)
print(len((taken.folder / "adapter" / "lora.safetensors").read_bytes()), flush=True)
"""


def start(script: str, shared: Path, arguments: Sequence[str] = ()) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "SURGE_HANDOVER": str(shared), "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def train(shared: Path, content: str = "weights") -> str:
    with pair.hand_over(shared) as folder:
        (folder / "lora").write_text(content)
    found = pair.handed_over(shared)
    assert found is not None
    return found.digest


def test_a_trainer_that_ran_first_leaves_what_the_inferer_warms_up_from(tmp_path):
    with start(TRAINER, tmp_path, ["x"]) as trainer:
        assert trainer.communicate("\n", timeout=60)[0] == "written\nhanded over\n"
    with start(INFERER, tmp_path) as inferer:
        assert inferer.communicate(timeout=60)[0] == "100000\n"


def test_an_inferer_beside_its_trainer_waits_until_the_hand_over_is_whole(tmp_path):
    with start(TRAINER, tmp_path, ["x"]) as trainer, start(INFERER, tmp_path) as inferer:
        assert said(trainer) == "written"
        with pytest.raises(subprocess.TimeoutExpired):
            inferer.wait(1)
        trainer.communicate("\n", timeout=60)
        assert inferer.communicate(timeout=60)[0] == "100000\n"


def test_what_a_killed_trainer_left_is_never_taken_and_its_successor_removes_it(tmp_path):
    with start(TRAINER, tmp_path, ["x"]) as trainer:
        assert said(trainer) == "written"
        trainer.send_signal(signal.SIGKILL)
    with pytest.raises(
        pair.HandOverError, match=r"2 files that no ready.json names.*kubectl logs POD -c trainer"
    ):
        pair.take(tmp_path, deadline_s=0)
    train(tmp_path)
    assert (pair.take(tmp_path, deadline_s=0).folder / "lora").read_text() == "weights"
    assert len(list(tmp_path.glob("files-*"))) == 1


def test_a_trainer_that_fails_in_the_middle_hands_over_nothing(tmp_path):
    def fail() -> None:
        with pair.hand_over(tmp_path) as folder:
            (folder / "lora").write_text("half")
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(pair.HandOverError, match="no file of it"):
        pair.take(tmp_path, deadline_s=0)


def test_a_trainer_that_wrote_nothing_is_told_so(tmp_path):
    with pytest.raises(pair.HandOverError, match="left no file"), pair.hand_over(tmp_path):
        pass


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda file: file.write_text("weigh"), "lora has other bytes"),
        (lambda file: file.unlink(), "lora: No such file"),
    ],
    ids=["cut short", "missing"],
)
def test_files_that_are_not_as_they_were_handed_over_are_refused(tmp_path, harm, told):
    train(tmp_path)
    harm(pair.take(tmp_path, deadline_s=0).folder / "lora")
    with pytest.raises(pair.HandOverError, match=told):
        pair.take(tmp_path, deadline_s=0)


def test_an_inferer_waits_for_the_next_training_while_it_serves_the_last(tmp_path):
    first = train(tmp_path, "one")
    with pytest.raises(pair.HandOverError, match="no hand-over"):
        pair.take(tmp_path, deadline_s=0, after=first)
    trainer = threading.Timer(0.3, train, [tmp_path, "two"])
    trainer.start()
    taken = pair.take(tmp_path, deadline_s=60, after=first)
    trainer.join()
    assert (taken.folder / "lora").read_text() == "two"


def test_the_last_but_one_stays_for_whoever_still_reads_it(tmp_path):
    for content in ("one", "two", "three"):
        train(tmp_path, content)
    kept = {(folder / "lora").read_text() for folder in tmp_path.glob("files-*")}
    assert kept == {"two", "three"}


def test_a_restarted_trainer_sees_that_it_has_handed_over_before(tmp_path):
    assert pair.handed_over(tmp_path) is None
    digest = train(tmp_path)
    found = pair.handed_over(tmp_path)
    assert found is not None
    assert found.digest == digest == pair.take(tmp_path, deadline_s=0).digest
    assert json.loads((tmp_path / "ready.json").read_text())["folder"] == found.folder.name
