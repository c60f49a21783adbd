"""Will these workers fit onto these nodes, and which memory is then beyond anybody's reach?"""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from surge.policy.gpu.admission import Pool
from surge.policy.gpu.hami import Books, Card, Pod
from surge.policy.gpu.shapes import Shape, Whole, pod_of

__all__ = ["Packing", "pack", "stranded_mib", "workers_on"]


@dataclass(frozen=True)
class Packing:
    """placed, unplaced: of the wanted workers, per shape. memory_mib: of all cards, free_mib: what is not
    booked of it.

    stranded_mib: the free memory of cards on which none of the shapes fits any more.
    """

    placed: Mapping[Shape, int]
    unplaced: Mapping[Shape, int]
    cards_used: int
    memory_mib: int
    free_mib: int
    stranded_mib: int


def pack(wanted: Mapping[Shape, int], pool: Pool, nodes: Sequence[Sequence[Card]] | None = None) -> Packing:
    """Put so many workers of each shape onto `pool`, by HAMi's rules, largest first.

    nodes: those there are, with what is booked on them, which stays as it is; without it the pool's, empty.
    """
    books = Books(pool.cards() if nodes is None else nodes, pool.policy)
    placed: Counter[Shape] = Counter()
    for shape in sorted(wanted, key=lambda shape: _size(pod_of(shape), pool), reverse=True):
        for _ in range(wanted[shape]):
            if books.place(pod_of(shape)) is None:
                break
            placed[shape] += 1
    cards = [card for node in books.nodes for card in node]
    return Packing(
        placed=placed,
        unplaced={shape: count - placed[shape] for shape, count in wanted.items() if count > placed[shape]},
        cards_used=sum(card.used_slots > 0 for card in cards),
        memory_mib=sum(card.memory_mib for card in cards),
        free_mib=sum(card.free_mib for card in cards),
        stranded_mib=stranded_mib(cards, wanted),
    )


def workers_on(shape: Shape, pool: Pool) -> int:
    """How many workers of a shape that `pool` admits an empty node of it holds."""
    if isinstance(shape, Whole):
        return pool.cards_per_node // shape.cards
    card, pod = Books([[Card(pool.card_mib, pool.slots)]]), pod_of(shape)
    return pool.cards_per_node * next(count for count in itertools.count() if card.place(pod) is None)


def stranded_mib(cards: Iterable[Card], shapes: Iterable[Shape]) -> int:
    """Free MiB on cards that none of `shapes` can use, not even as one of the cards of a larger worker.

    0 without shapes: nobody wants it.
    """
    pods = [_on_one_card(pod_of(shape)) for shape in shapes]
    if not pods:
        return 0
    return sum(
        card.free_mib
        for card in cards
        if not any(Books([[card.copy()]]).place(pod) is not None for pod in pods)
    )


def _on_one_card(pod: Pod) -> Pod:
    return Pod(
        tuple(replace(request, cards=1) for request in pod.containers),
        tuple(replace(request, cards=1) for request in pod.init),
    )


def _size(pod: Pod, pool: Pool) -> tuple[int, int, str]:
    """Cards and MiB at once; the last part only breaks ties, so that the order of the file never matters."""
    requests = (*pod.containers, *pod.init)
    mib = sum(pool.card_mib if each.memory_mib is None else each.memory_mib for each in requests)
    return max(each.cards for each in requests), mib, repr(pod)
