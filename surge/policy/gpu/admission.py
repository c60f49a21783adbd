"""Which pool may take which shape, so that a pair shares its card whatever comes and goes.

The slot-cap rule: a pool that holds nothing but pods of two GPU containers, each pod at most 1/k
of a card's memory and 100/k of its cores, on equal cards of 2k slots, under GPU policy binpack.
Free slots then come in twos, a card with a free slot has room for a whole pod, and the first
container only raises its card's score: the second lands on the same card.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from surge.policy.gpu.hami import EXCLUSIVE, Card, Policy
from surge.policy.gpu.shapes import Fraction, Pair, Shape, Share, Whole

__all__ = ["Pool", "Refusal", "home_of", "largest_k", "pool_refusals", "refusals", "slots_for"]

Kind = Literal["whole", "shared", "pairs"]


@dataclass(frozen=True)
class Pool:
    """Nodes with equal cards.

    kind: `whole` has the plain device plugin, whole cards only; `shared` has HAMi, for everything but
    long-lived pairs; `pairs` has HAMi for long-lived pairs and nothing else. card_mib: memory of a
    card. slots: containers a card is shown to (HAMi's split count).
    """

    name: str
    kind: Kind
    nodes: int
    cards_per_node: int
    card_mib: int = 81_920
    slots: int = 1
    policy: Policy = "binpack"

    @property
    def k(self) -> int:
        """Pairs a card holds under the slot-cap rule."""
        return self.slots // 2

    @property
    def pair_mib(self) -> int:
        return self.card_mib // max(1, self.k)

    @property
    def pair_cores(self) -> int:
        return 100 // max(1, self.k)

    def cards(self) -> list[list[Card]]:
        """Its nodes, empty."""
        return [
            [Card(self.card_mib, self.slots) for _ in range(self.cards_per_node)] for _ in range(self.nodes)
        ]


@dataclass(frozen=True)
class Refusal:
    """reason: what was seen and why it is unsafe. fix: what to change."""

    reason: str
    fix: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.fix}"


def slots_for(k: int) -> int:
    """The split count of cards that hold k pairs."""
    return 2 * k


def largest_k(pairs: Iterable[Pair], card_mib: int) -> int:
    """The k of a pool for all of `pairs`: how many of the largest a card holds, 0 when it holds none.

    Raises ValueError when there are no pairs, or one does not state its memory and cores.
    """
    fitting = [min(card_mib // mib, 100 // cores) for mib, cores in map(_needs, pairs)]
    if not fitting:
        raise ValueError("no pairs: want at least one to size a pool for")
    return min(fitting)


def home_of(shape: Shape, pools: Iterable[Pool]) -> tuple[Pool, list[Refusal]]:
    """The pool for `shape` and what it refuses in it, which is nothing when any pool admits the shape.

    Of those that admit it, the one that wastes least of a card; ties go by name.
    Raises ValueError when there are no pools.
    """
    judged = [(pool, refusals(shape, pool)) for pool in pools]
    natural = _natural(shape)
    return min(
        judged,
        key=lambda item: (
            bool(item[1]),
            item[0].kind != natural,
            item[0].kind == "whole",
            -item[0].slots,
            item[0].name,
        ),
    )


def pool_refusals(pool: Pool) -> list[Refusal]:
    """Why `pool` cannot be what it says it is; nothing when it can."""
    found: list[Refusal] = []
    if pool.kind == "whole" and pool.slots != 1:
        found.append(
            Refusal(
                f"{pool.slots} slots on whole cards would hand one card to {pool.slots} workers",
                "want slots: 1, or kind: shared",
            )
        )
    if pool.kind == "pairs" and (pool.slots < 2 or pool.slots % 2):
        found.append(
            Refusal(
                f"{pool.slots} slots leave one free beside a pair, and the next pair would be split",
                "want slots: 2, 4 or 8, twice the pairs that a card shall hold",
            )
        )
    if pool.kind == "pairs" and pool.policy != "binpack":
        found.append(
            Refusal(f"GPU policy {pool.policy} puts siblings on different cards", "want gpu-policy: binpack")
        )
    return found


def refusals(shape: Shape, pool: Pool) -> list[Refusal]:
    """Every reason why `pool` must not take `shape`, each with its fix; nothing when it may."""
    match shape:
        case Whole(cards):
            return list(_whole(cards, pool))
        case Fraction(share):
            return [*_fraction(pool), *_share("worker", share, pool)]
        case Pair():
            return list(_pair(shape, pool))


def _whole(cards: int, pool: Pool) -> Iterator[Refusal]:
    if pool.kind == "pairs":
        yield _mixed("a worker of whole GPUs", pool)
    if cards > pool.cards_per_node:
        yield Refusal(
            f"a worker of {cards} GPUs fits on no node of {pool.cards_per_node}",
            f"want gpus: {pool.cards_per_node} or fewer",
        )


def _fraction(pool: Pool) -> Iterator[Refusal]:
    if pool.kind == "whole":
        yield _no_hami("part of a card", pool)
    if pool.kind == "pairs":
        yield _mixed("one container with part of a card", pool)


def _share(name: str, share: Share, pool: Pool) -> Iterator[Refusal]:
    if share.memory_mib is None or share.cores is None:
        missing = [
            key for key, value in (("memory-mib", share.memory_mib), ("cores", share.cores)) if value is None
        ]
        yield Refusal(
            f"the {name} does not state its {' and '.join(missing)}, so HAMi books "
            + ("a whole card for it" if len(missing) == 2 else "what it guesses"),
            "want memory-mib and cores on every container that shares a card",
        )
    if share.memory_mib is not None and share.memory_mib > pool.card_mib:
        yield Refusal(
            f"the {name} wants {share.memory_mib} MiB, and a card of pool {pool.name} has {pool.card_mib}",
            f"want memory-mib: {pool.card_mib} or less",
        )
    if share.cores is not None and not 1 <= share.cores < EXCLUSIVE:
        yield Refusal(
            f"the {name} wants {share.cores} % of the cores, which HAMi takes for "
            + ("a card of its own" if share.cores else "none, and a busy card then refuses it"),
            "want cores: 1 to 99",
        )


def _pair(pair: Pair, pool: Pool) -> Iterator[Refusal]:
    unstated = [*_share("trainer", pair.trainer, pool), *_share("worker", pair.worker, pool)]
    yield from unstated
    if pool.kind == "whole":
        yield _no_hami("a pair", pool)
    elif pair.route == "init-container":
        yield from _trains_first(pair, pool)
    elif pool.kind == "shared":
        yield Refusal(
            f"pool {pool.name} holds single containers too: between them the trainer and the worker "
            "of a long-lived pair would land on two cards",
            "want a pool of kind: pairs, or runs: first if the trainer ends before the worker starts",
        )
    else:
        yield from pool_refusals(pool)
        if not unstated:
            yield from _too_large(pair, pool)


def _trains_first(pair: Pair, pool: Pool) -> Iterator[Refusal]:
    if pool.kind == "pairs":
        yield _mixed("a pair that trains first holds one slot, so it", pool)
    if pair.trainer != pair.worker:
        both = [max(filter(None, pair_of), default=0) for pair_of in _both(pair)]
        yield Refusal(
            "trainer and worker ask for different parts of a card, so HAMi may choose two cards",
            f"want memory-mib: {both[0]} and cores: {both[1]} on both; they run one after the other",
        )


def _too_large(pair: Pair, pool: Pool) -> Iterator[Refusal]:
    mib, cores = _needs(pair)
    if mib <= pool.pair_mib and cores <= pool.pair_cores:
        return
    k = largest_k([pair], pool.card_mib)
    yield Refusal(
        f"the pair wants {mib} MiB and {cores} % of the cores, and pool {pool.name}, with {pool.slots} slots "
        f"a card, grants a pair {pool.pair_mib} MiB and {pool.pair_cores} %",
        f"want less, or another pool with slots: {slots_for(k)}"
        if k
        else f"want at most {pool.card_mib} MiB and 100 % in all, no card holds more",
    )


def _both(pair: Pair) -> Sequence[tuple[int | None, int | None]]:
    return (pair.trainer.memory_mib, pair.worker.memory_mib), (pair.trainer.cores, pair.worker.cores)


def _needs(pair: Pair) -> tuple[int, int]:
    """MiB and percent of cores of both containers together."""
    (trainer_mib, worker_mib), (trainer_cores, worker_cores) = _both(pair)
    if not (trainer_mib and worker_mib and trainer_cores and worker_cores):
        raise ValueError(f"{pair} does not state its memory and cores: want both on both containers")
    return trainer_mib + worker_mib, trainer_cores + worker_cores


def _natural(shape: Shape) -> Kind:
    if isinstance(shape, Whole):
        return "whole"
    return "pairs" if isinstance(shape, Pair) and shape.route == "slot-cap" else "shared"


def _mixed(what: str, pool: Pool) -> Refusal:
    return Refusal(
        f"{what} would leave an odd slot in pool {pool.name}, and pairs there would be split over two cards",
        "want a pool of kind: shared",
    )


def _no_hami(what: str, pool: Pool) -> Refusal:
    return Refusal(
        f"pool {pool.name} hands out whole cards only, and this is {what}",
        "want a pool of kind: shared or pairs, with HAMi on its nodes, under cluster.pools",
    )
