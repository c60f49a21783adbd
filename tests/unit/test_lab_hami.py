"""HAMi's stand-in: its books, and what it does when a call fails half way."""

import asyncio
from typing import Any

import pytest

from lab.api_server import ApiError
from lab.hami.acker import Acker
from lab.hami.cluster import LockedError
from lab.hami.extender import Extender
from lab.hami.ledger import Ledger
from lab.hami.pod import Asked
from surge.policy.gpu import Pool, Share, limits, protocol

PAIRS = Pool("pairs", "pairs", nodes=2, cards_per_node=1, slots=2)
REGISTERS = {name: protocol.registration(name, PAIRS) for name in ("pairs-0", "pairs-1")}
ONE = "GPU-pairs-0-0,NVIDIA,20000,25:;;GPU-pairs-0-0,NVIDIA,20000,25:;"


def pod(
    uid: str, version: int = 1, *, cards: str | None = None, node: str = "pairs-0", **annotations: str
) -> dict:
    asked = {"resources": {"limits": limits(Share(20_000, 25))}}
    if cards is not None:
        annotations |= {protocol.NODE: node, protocol.ALLOCATED: cards, protocol.TO_ALLOCATE: cards}
    return {
        "metadata": {
            "uid": uid,
            "name": uid,
            "namespace": "filters",
            "resourceVersion": str(version),
            "labels": {},
            "annotations": annotations,
        },
        "spec": {"containers": [asked, {"name": "log"}, asked], "nodeName": node},
        "status": {"phase": "Pending"},
    }


def opened() -> Ledger:
    ledger = Ledger()
    for name, annotation in REGISTERS.items():
        assert ledger.register(name, annotation)
        assert not ledger.register(name, annotation)
    return ledger


def place(ledger: Ledger, uid: str) -> tuple[str, str] | None:
    return ledger.place(Asked.of(pod(uid)), REGISTERS)


def test_it_writes_the_cards_of_each_container_and_of_those_without_none():
    assert place(opened(), "a") == ("pairs-0", ONE)


def test_only_the_candidates_come_into_question():
    ledger = opened()
    assert ledger.place(Asked.of(pod("a")), ["pairs-1", "elsewhere"]) == (
        "pairs-1",
        ONE.replace("s-0-0", "s-1-0"),
    )
    assert ledger.place(Asked.of(pod("b")), ["pairs-1", "elsewhere"]) is None


def test_a_pod_that_is_asked_for_again_does_not_hold_its_first_cards_too():
    ledger = opened()
    for _ in range(3):
        assert place(ledger, "a") == ("pairs-0", ONE)
    assert place(ledger, "b") is not None
    assert place(ledger, "c") is None


def test_what_the_annotations_say_is_booked_after_a_start():
    ledger = opened()
    ledger.see(pod("a", cards=ONE))
    assert place(ledger, "b") == ("pairs-1", ONE.replace("s-0-0", "s-1-0"))
    assert place(ledger, "c") is None
    over = pod("a", 2, cards=ONE)
    over["status"]["phase"] = "Succeeded"
    ledger.see(over)
    assert place(ledger, "c") == ("pairs-0", ONE)


def test_news_older_than_its_own_choice_changes_nothing():
    ledger = opened()
    place(ledger, "a")
    ledger.see(pod("a", 5))
    ledger.confirm("a", "7")
    ledger.see(pod("a", 6, cards=ONE.replace("s-0-0", "s-1-0"), node="pairs-1"))
    assert place(ledger, "b") == ("pairs-1", ONE.replace("s-0-0", "s-1-0"))
    ledger.see(pod("a", 8))
    assert ledger.pods() == {"b"}


@pytest.mark.parametrize(
    "cards", [ONE.replace("GPU-pairs-0-0", "GPU-of-nobody"), "nonsense", ONE[:30] + ":;"]
)
def test_cards_that_nobody_can_book_are_refused_and_the_books_stay_as_they_were(cards):
    ledger = opened()
    place(ledger, "a")
    ledger.confirm("a", "2")
    with pytest.raises(ValueError, match=r"GPU-of-nobody|want"):
        ledger.see(pod("a", 3, cards=cards))
    assert place(ledger, "b") == ("pairs-1", ONE.replace("s-0-0", "s-1-0"))


def test_a_node_that_comes_back_still_has_its_pods():
    ledger = opened()
    place(ledger, "a")
    ledger.unregister("pairs-0")
    assert ledger.place(Asked.of(pod("b")), ["pairs-0"]) is None
    ledger.register("pairs-0", REGISTERS["pairs-0"])
    assert ledger.place(Asked.of(pod("b")), ["pairs-0"]) is None
    ledger.forget("a")
    assert ledger.place(Asked.of(pod("b")), ["pairs-0"]) == ("pairs-0", ONE)


class Calls:
    """A cluster that notes what it is told, and fails where it shall."""

    def __init__(self, **failing: Exception) -> None:
        self.failing = failing
        self.made: list[tuple[Any, ...]] = []
        self.unlocked = asyncio.Event()

    def _made(self, name: str, *arguments: Any) -> None:
        self.made.append((name, *arguments))
        if name in self.failing:
            raise self.failing.pop(name)

    async def annotate(self, path: str, annotations: dict) -> dict:
        self._made("annotate", annotations.get(protocol.BIND_PHASE))
        return {"metadata": {"resourceVersion": "9"}}

    async def bind(self, *arguments: str) -> None:
        self._made("bind", *arguments)

    async def lock(self, *arguments: str) -> None:
        self._made("lock", *arguments)

    async def unlock(self, *arguments: str) -> None:
        self._made("unlock", *arguments)
        self.unlocked.set()


BIND = {"PodNamespace": "filters", "PodName": "a", "PodUID": "a", "Node": "pairs-0"}


def bound(calls: Calls, *, patient: bool = False) -> tuple[dict, list]:
    ledger = opened()
    asked = Asked.of(pod("a"))
    ledger.place(Asked(**{**vars(asked), "patient": patient}), REGISTERS)
    answer = asyncio.run(Extender(calls, ledger, 5).bind(BIND))
    return answer, [call[0] for call in calls.made]


def test_a_bind_locks_the_node_says_so_on_the_pod_and_binds():
    assert bound(Calls()) == ({}, ["lock", "annotate", "bind"])


def test_a_bind_that_fails_gives_the_node_free():
    answer, made = bound(Calls(bind=ApiError(409, "already bound")))
    assert "already bound" in answer["Error"]
    assert made == ["lock", "annotate", "bind", "unlock", "annotate"]


def test_of_two_pods_for_one_node_the_one_of_a_group_waits_and_another_goes_back():
    locked = LockedError("node pairs-0 is locked")
    assert bound(Calls(lock=locked)) == ({"Error": "node pairs-0 is locked"}, ["lock"])
    assert bound(Calls(lock=locked), patient=True) == ({}, ["lock", "lock", "annotate", "bind"])


def test_a_choice_that_cannot_be_written_is_not_booked():
    ledger = opened()
    extender = Extender(Calls(annotate=ApiError(0, "away")), ledger, 5)
    answer = asyncio.run(extender.filter({"Pod": pod("a"), "NodeNames": list(REGISTERS)}))
    assert "cannot be written on the pod: away" in answer["Error"]
    assert ledger.pods() == set()


@pytest.mark.parametrize("gone", [False, True])
def test_the_acker_says_success_and_gives_the_node_free_even_when_the_pod_is_gone(gone):
    calls = Calls(annotate=ApiError(404, "gone")) if gone else Calls()

    async def acknowledge() -> None:
        acker = Acker(calls, 0)
        for _ in range(2):
            acker.see(pod("a", cards=ONE, **{protocol.BIND_PHASE: "allocating"}))
        acker.see(pod("b", cards=ONE, **{protocol.BIND_PHASE: "success"}))
        await calls.unlocked.wait()

    asyncio.run(acknowledge())
    assert calls.made == [("annotate", "success"), ("unlock", "pairs-0", "filters", "a")]
