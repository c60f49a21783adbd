"""What a worker asks of the GPUs, as data, and what its containers then state."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from surge.policy.gpu.hami import EXCLUSIVE, Pod, Request

__all__ = [
    "CARDS",
    "CORES",
    "MEMORY",
    "PAIR_LABEL",
    "Fraction",
    "Pair",
    "Route",
    "Shape",
    "Share",
    "Whole",
    "limits",
    "pod_of",
    "request_of",
]

# HAMi's names of distinct cards, MiB of each, percent of each one's processors.
CARDS, MEMORY, CORES = "nvidia.com/gpu", "nvidia.com/gpumem", "nvidia.com/gpucores"

# Pods that carry it are pairs, whichever route keeps them on one card.
PAIR_LABEL = ("surge.dev/gpu-shape", "pair")

Route = Literal["slot-cap", "init-container"]


@dataclass(frozen=True)
class Share:
    """A part of one card. memory_mib: of its memory. cores: percent of its processors. None: not stated."""

    memory_mib: int | None = None
    cores: int | None = None


@dataclass(frozen=True)
class Whole:
    """`cards` whole cards of one node."""

    cards: int = 1


@dataclass(frozen=True)
class Fraction:
    share: Share


@dataclass(frozen=True)
class Pair:
    """Two containers that must share one card.

    trains_first: the trainer ends before the worker starts; otherwise both live as long as the pod.
    """

    trainer: Share
    worker: Share
    trains_first: bool = False

    @property
    def route(self) -> Route:
        return "init-container" if self.trains_first else "slot-cap"


Shape = Whole | Fraction | Pair


def limits(asked: Whole | Share) -> dict[str, str]:
    """The resources a container states for its part of a shape."""
    if isinstance(asked, Whole):
        return {CARDS: str(asked.cards)}
    stated = {MEMORY: asked.memory_mib, CORES: asked.cores}
    return {CARDS: "1", **{key: str(value) for key, value in stated.items() if value is not None}}


def pod_of(shape: Shape) -> Pod:
    """The pod as HAMi's scheduler sees it, after its webhook."""
    match shape:
        case Whole(cards):
            return Pod((Request(cards),))
        case Fraction(share):
            return Pod((_request(share),))
        case Pair(trainer, worker, trains_first=True):
            return Pod((_request(worker),), init=(_request(trainer),))
        case Pair(trainer, worker):
            return Pod((_request(worker), _request(trainer)))


def request_of(limits: Mapping[str, str]) -> Request | None:
    """A container's limits as HAMi's scheduler sees them; None when it asks for no card."""
    if not {CARDS, MEMORY, CORES} & limits.keys():
        return None
    memory, cores = limits.get(MEMORY), limits.get(CORES)
    # The webhook turns a bare GPU into an exclusive one; without it, no cores means none.
    bare = memory is None and cores is None
    return Request(
        _number(limits.get(CARDS, "1")),
        None if memory is None else _number(memory),
        EXCLUSIVE if bare else _number(cores or "0"),
    )


def _request(share: Share) -> Request:
    request = request_of(limits(share))
    if request is None:
        raise ValueError(f"{share} asks for no card")
    return request


def _number(quantity: str) -> int:
    """A whole quantity; the API server writes 20000 as 20k."""
    digits = quantity.rstrip("kKMGi")
    return int(digits) * FACTORS[quantity[len(digits) :]]


FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
