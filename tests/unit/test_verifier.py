"""The verifier: what it makes of a pod's annotation, and what it says when it cannot see."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import text

from surge.policy.gpu.protocol import ALLOCATED
from verifier import watch
from verifier.api import ApiError
from verifier.pairs import Pairs, Verdict, judged

TOGETHER = "GPU-a,NVIDIA,20000,25:;GPU-a,NVIDIA,16000,20:;"
APART = "GPU-a,NVIDIA,20000,25:;GPU-b,NVIDIA,16000,20:;"


def pod(
    cards: str | None, uid: str = "1", *, node: str = "pairs-0", phase: str = "Running"
) -> dict[str, Any]:
    return {
        "metadata": {
            "uid": uid,
            "name": f"avatar-{uid}",
            "namespace": "filters",
            "labels": {"surge.dev/filter": "avatar"},
            "annotations": {} if cards is None else {ALLOCATED: cards},
            "resourceVersion": "8",
        },
        "spec": {"nodeName": node},
        "status": {"phase": phase},
    }


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (pod(TOGETHER), Verdict.TOGETHER),
        (pod(";" + TOGETHER + ";"), Verdict.TOGETHER),
        (pod(APART), Verdict.APART),
        (pod("GPU-a,NVIDIA,1,1:GPU-b,NVIDIA,1,1:;GPU-a,NVIDIA,1,1:;"), Verdict.APART),
        (pod("GPU-a,NVIDIA,20000,25:;;"), Verdict.UNKNOWN),
        (pod("GPU-a,NVIDIA"), Verdict.UNKNOWN),
        (pod(None), Verdict.UNKNOWN),
        (pod(APART, node=""), None),
        (pod(APART, phase="Succeeded"), None),
    ],
)
def test_a_pair_is_judged_by_the_cards_of_all_its_containers(seen, verdict):
    assert judged(seen) == verdict


@given(text())
def test_no_annotation_makes_it_fail(annotation):
    assert judged(pod(annotation)) in set(Verdict)


def values(pairs: Pairs) -> dict[str, float]:
    return {sample.name: sample.value for family in pairs.collect() for sample in family.samples}


def test_the_metrics_follow_the_pods():
    pairs = Pairs()
    pairs.replace([pod(TOGETHER, "1"), pod(TOGETHER, "2"), pod("nonsense", "3"), pod(None, "4", node="")])
    assert values(pairs) == {
        "surge_same_gpu_pairs": 2,
        "surge_same_gpu_violations": 0,
        "surge_same_gpu_unknown": 1,
        "surge_same_gpu_blind_seconds": 0,
    }
    pairs.see(pod(APART, "2"))
    pairs.forget("3")
    assert values(pairs)["surge_same_gpu_violations"] == 1
    assert values(pairs)["surge_same_gpu_unknown"] == 0
    pairs.replace([pod(TOGETHER, "1")])
    assert values(pairs)["surge_same_gpu_violations"] == 0


class Script:
    """An API that gives these answers in turn, and then ends the test."""

    def __init__(self, *answers: list[Mapping[str, Any]] | ApiError) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def lines(self, path: str, *, timeout_s: float) -> Iterator[Mapping[str, Any]]:
        assert timeout_s > 0
        self.asked.append(path)
        if not self._answers:
            raise EndOfScriptError
        answer = self._answers.pop(0)
        if isinstance(answer, ApiError):
            raise answer
        yield from answer


class EndOfScriptError(Exception):
    pass


def listed(*pods: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [{"items": list(pods), "metadata": {"resourceVersion": "7"}}]


def followed(*answers: list[Mapping[str, Any]] | ApiError) -> tuple[Pairs, Script]:
    pairs, script = Pairs(), Script(*answers)
    with pytest.raises(EndOfScriptError):
        watch.follow(script, pairs)
    return pairs, script


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch):
    monkeypatch.setattr(watch.time, "sleep", lambda _: None)


def test_it_asks_for_pods_that_say_they_are_pairs_and_goes_on_from_what_it_has_seen():
    pairs, script = followed(listed(pod(TOGETHER)), [{"type": "MODIFIED", "object": pod(APART)}])
    assert all("labelSelector=surge.dev%2Fgpu-shape%3Dpair" in path for path in script.asked)
    assert ["resourceVersion=7" in path for path in script.asked] == [False, True, False]
    assert "resourceVersion=8" in script.asked[2]
    assert values(pairs)["surge_same_gpu_violations"] == 1


@pytest.mark.parametrize(
    "late", [ApiError(410, "Gone"), [{"type": "ERROR", "object": {"code": 410, "message": "too old"}}]]
)
def test_after_a_watch_that_is_too_old_it_lists_again(late):
    pairs, script = followed(listed(pod(APART)), late, listed(pod(TOGETHER)))
    assert "watch=1" not in script.asked[2]
    assert values(pairs)["surge_same_gpu_violations"] == 0


def test_while_the_api_server_is_away_it_says_that_it_sees_nothing():
    pairs, _ = followed(listed(pod(TOGETHER)), ApiError(0, "refused"), ApiError(0, "refused"))
    assert values(pairs)["surge_same_gpu_blind_seconds"] > 0
    assert values(Pairs())["surge_same_gpu_blind_seconds"] > 0
