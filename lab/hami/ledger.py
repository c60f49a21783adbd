"""Which pod has which cards: the extender's memory, and how it comes back from the pods' annotations."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from lab.hami.pod import Asked, granted_to
from surge.policy.gpu import Books, Card, Placement
from surge.policy.gpu.protocol import Grant, grants_of, registered, written

__all__ = ["Ledger"]


@dataclass
class _Held:
    """version: of the pod as we have written it; what is told of an older one is past."""

    asked: Asked
    node: str
    cards: str
    placement: Placement
    version: float


class Ledger:
    """place, confirm, see and forget: of pods. register and unregister: of nodes."""

    def __init__(self) -> None:
        self._registers: dict[str, str] = {}
        self._nodes: dict[str, dict[str, Card]] = {}
        self._held: dict[str, _Held] = {}
        self._books = Books([])

    def register(self, node: str, annotation: str) -> bool:
        """Whether the node's cards are news. Raises ValueError when the annotation is none of HAMi's."""
        if self._registers.get(node) == annotation:
            return False
        self._nodes[node] = registered(annotation)
        self._registers[node] = annotation
        self._open_books()
        return True

    def unregister(self, node: str) -> None:
        if self._registers.pop(node, None) is not None:
            del self._nodes[node]
            self._open_books()

    def nodes(self) -> set[str]:
        return set(self._nodes)

    def pods(self) -> set[str]:
        return set(self._held)

    def patient(self, uid: str) -> bool:
        """Whether the pod waits for a node that is being bound to."""
        return uid in self._held and self._held[uid].asked.patient

    def place(self, asked: Asked, candidates: Iterable[str]) -> tuple[str, str] | None:
        """Book cards on one of `candidates`; return the node and the annotation. None: no node has room."""
        self.forget(asked.uid)
        names = list(self._nodes)
        among = [names.index(name) for name in candidates if name in self._nodes]
        placement = self._books.place(asked.pod, among=among, policy=asked.policy)
        if placement is None:
            return None
        node = names[placement.node]
        cards = written(_grants(asked, placement, self._nodes[node]))
        self._held[asked.uid] = _Held(asked, node, cards, placement, inf)
        return node, cards

    def confirm(self, uid: str, version: str) -> None:
        """The API server has our annotation, as of this resourceVersion."""
        if uid in self._held:
            self._held[uid].version = int(version)

    def see(self, pod: Mapping[str, Any]) -> None:
        """Take over what a pod's annotation says.

        Raises ValueError when no reader could make sense of it, and keeps what was booked before.
        """
        uid, granted = pod["metadata"]["uid"], granted_to(pod)
        held = self._held.get(uid)
        version = int(pod["metadata"]["resourceVersion"])
        if held is not None and (version <= held.version or granted == (held.node, held.cards)):
            return
        taken: _Held | None = None
        if granted is not None and granted[0] in self._nodes:
            asked = Asked.of(pod)
            taken = _Held(asked, *granted, self._restore(asked, *granted), version)
        self.forget(uid)
        if taken is not None:
            self._held[uid] = taken

    def forget(self, uid: str) -> None:
        held = self._held.pop(uid, None)
        if held is not None and held.node in self._nodes:
            self._books.remove(held.placement)

    def _open_books(self) -> None:
        """Anew, with what is held: nodes have come, gone or changed."""
        self._books = Books([[card.copy() for card in cards.values()] for cards in self._nodes.values()])
        for uid, held in list(self._held.items()):
            if held.node in self._nodes:
                try:
                    held.placement = self._restore(held.asked, held.node, held.cards)
                except ValueError:  # the node has lost the card
                    del self._held[uid]

    def _restore(self, asked: Asked, node: str, cards: str) -> Placement:
        ids = list(self._nodes[node])
        known = [tuple(ids.index(grant.card) for grant in grants) for grants in grants_of(cards) if grants]
        return self._books.restore(list(self._nodes).index(node), asked.pod, known)


def _grants(asked: Asked, placement: Placement, cards: Mapping[str, Card]) -> list[tuple[Grant, ...]]:
    ids, chosen = list(cards), iter(placement.cards)
    return [
        ()
        if request is None
        else tuple(
            Grant(
                ids[index],
                cards[ids[index]].memory_mib if request.memory_mib is None else request.memory_mib,
                request.cores,
            )
            for index in next(chosen)
        )
        for request in asked.all
    ]
