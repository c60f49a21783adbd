"""Where HAMi 2.10 puts a pod: its fit and score rules for NVIDIA cards, re-told.

Each container is fitted by itself, in order, and sees what its siblings took before it; nothing
binds two containers of a pod to one card. Init containers and app containers are fitted on
separate copies of the node, and a card is booked for the larger of the two.
Source: pkg/scheduler/score.go, pkg/scheduler/policy/gpu_policy.go, pkg/device/nvidia/device.go.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

__all__ = ["Books", "Card", "Placement", "Pod", "Policy", "Request"]

Policy = Literal["binpack", "spread"]

# Asked for, it makes a card the container's own.
EXCLUSIVE = 100


@dataclass(frozen=True)
class Request:
    """One container: so many distinct cards, and of each memory (MiB; None: all) and cores (percent)."""

    cards: int = 1
    memory_mib: int | None = None
    cores: int = EXCLUSIVE


@dataclass(frozen=True)
class Pod:
    containers: tuple[Request, ...]
    init: tuple[Request, ...] = ()


@dataclass(slots=True)
class Card:
    """slots: containers it can be shown to (the split count). used_*: what is booked on it."""

    memory_mib: int
    slots: int
    numa: int = 0
    used_slots: int = 0
    used_mib: int = 0
    used_cores: int = 0

    @property
    def free_mib(self) -> int:
        return self.memory_mib - self.used_mib

    def copy(self) -> "Card":
        return Card(self.memory_mib, self.slots, self.numa, self.used_slots, self.used_mib, self.used_cores)

    def takes(self, request: Request) -> bool:
        wanted = self.memory_mib if request.memory_mib is None else request.memory_mib
        return (
            self.used_slots < self.slots
            and wanted <= self.free_mib
            and request.cores <= 100 - self.used_cores
            and not (request.cores == EXCLUSIVE and self.used_slots)
            and not (request.cores == 0 and self.used_cores == 100)
        )

    def book(self, request: Request) -> None:
        self.used_slots += 1
        self.used_mib += self.memory_mib if request.memory_mib is None else request.memory_mib
        self.used_cores += request.cores

    def fullness(self) -> float:
        """HAMi's score without the request, which adds the same to every card of equal size."""
        return self.used_slots / self.slots + self.used_cores / 100 + self.used_mib / self.memory_mib


@dataclass(frozen=True)
class Placement:
    """node: its index. cards: per container the indices of its cards, init containers first."""

    node: int
    cards: tuple[tuple[int, ...], ...]
    booked: tuple[tuple[int, int, int, int], ...]  # card, slots, MiB, cores

    @property
    def on_one_card(self) -> bool:
        return len({card for of_container in self.cards for card in of_container}) == 1


class Books:
    """The cards of all nodes and what is booked on them, under one GPU policy and node policy binpack."""

    def __init__(self, nodes: Iterable[Iterable[Card]], policy: Policy = "binpack") -> None:
        self.nodes = [list(node) for node in nodes]
        self.policy: Policy = policy

    def place(
        self, pod: Pod, *, among: Iterable[int] | None = None, policy: Policy | None = None
    ) -> Placement | None:
        """Book `pod` on the fullest node that takes it, or return None and book nothing.

        among: the nodes that come into question, all by default. policy: the pod's own, if it has one.
        """
        by_fullness = sorted(
            range(len(self.nodes)) if among is None else among,
            key=lambda node: -sum(card.fullness() for card in self.nodes[node]),
        )
        first = (*pod.init, *pod.containers)[0]
        choose = partial(_fitting, policy=policy or self.policy)
        for node in by_fullness:
            if any(card.takes(first) for card in self.nodes[node]) and (
                placement := self._book(node, pod, choose)
            ):
                return placement
        return None

    def restore(self, node: int, pod: Pod, cards: Sequence[tuple[int, ...]]) -> Placement:
        """Book `pod` on the cards it is known to have, per container, init containers first.

        Raises ValueError when `cards` are not those of so many containers, IndexError for a card that the
        node does not have.
        """
        if len(cards) != len(pod.init) + len(pod.containers):
            raise ValueError(
                f"cards of {len(cards)} containers, and {len(pod.init) + len(pod.containers)} ask for some: "
                "want an entry for each"
            )
        known = iter(cards)
        placement = self._book(node, pod, lambda _on, _request: next(known))
        if placement is None:
            raise ValueError("want the cards of every container")
        return placement

    def remove(self, placement: Placement) -> None:
        for index, slots, mib, cores in placement.booked:
            card = self.nodes[placement.node][index]
            card.used_slots -= slots
            card.used_mib -= mib
            card.used_cores -= cores

    def _book(self, node: int, pod: Pod, choose: "Choice") -> Placement | None:
        before = self.nodes[node]
        chosen: list[tuple[int, ...]] = []
        after: list[Card] = []
        for trial in (*((request,) for request in pod.init), pod.containers):
            cards = [card.copy() for card in before]
            for request in trial:
                found = choose(cards, request)
                if found is None:
                    return None
                for index in found:
                    cards[index].book(request)
                chosen.append(found)
            after = [_peak(one, other) for one, other in zip(after, cards, strict=True)] if after else cards
        booked = tuple(
            (
                index,
                new.used_slots - old.used_slots,
                new.used_mib - old.used_mib,
                new.used_cores - old.used_cores,
            )
            for index, (old, new) in enumerate(zip(before, after, strict=True))
            if new != old
        )
        self.nodes[node] = after
        return Placement(node, tuple(chosen), booked)


Choice = Callable[[Sequence[Card], Request], tuple[int, ...] | None]


def _fitting(cards: Sequence[Card], request: Request, *, policy: Policy) -> tuple[int, ...] | None:
    """The cards that HAMi gives to `request`; None when there are too few."""
    sign = -1 if policy == "binpack" else 1
    able = [index for index, card in enumerate(cards) if card.takes(request)]
    if len(able) < request.cards:
        return None
    able.sort(key=lambda index: (-sign * cards[index].numa, sign * cards[index].fullness()))
    return tuple(able[: request.cards])


def _peak(one: Card, other: Card) -> Card:
    return replace(
        one,
        used_slots=max(one.used_slots, other.used_slots),
        used_mib=max(one.used_mib, other.used_mib),
        used_cores=max(one.used_cores, other.used_cores),
    )
