"""HAMi 2.10's annotations: how its scheduler, its device plugin and its readers talk about cards.

Source: docs/develop/protocol.md, pkg/device/devices.go, pkg/util/nodelock.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from surge.policy.gpu.admission import Pool
from surge.policy.gpu.hami import Card

__all__ = [
    "ALLOCATED",
    "BIND_PHASE",
    "BIND_TIME",
    "GPU_POLICY",
    "HANDSHAKE",
    "LOCK",
    "NODE",
    "REGISTER",
    "SCHEDULER",
    "TIME",
    "TO_ALLOCATE",
    "Grant",
    "grants_of",
    "registered",
    "registration",
    "written",
]

# Of kube-scheduler's profile that asks HAMi.
SCHEDULER = "hami-scheduler"

# On a node: its cards; that the scheduler knows them; who binds a pod to it at this moment.
REGISTER = "hami.io/node-nvidia-register"
HANDSHAKE = "hami.io/node-handshake"
LOCK = "hami.io/mutex.lock"

# On a pod: the choice of the scheduler, what the device plugin has still to hand out, and how far it is.
NODE, TIME = "hami.io/vgpu-node", "hami.io/vgpu-time"
TO_ALLOCATE, ALLOCATED = "hami.io/vgpu-devices-to-allocate", "hami.io/vgpu-devices-allocated"
BIND_PHASE, BIND_TIME = "hami.io/bind-phase", "hami.io/bind-time"
# On a pod, by who makes it.
GPU_POLICY = "hami.io/gpu-scheduler-policy"

VENDOR = "NVIDIA"


@dataclass(frozen=True)
class Grant:
    """A container's part of one card: the card's id, MiB, percent of the cores."""

    card: str
    memory_mib: int
    cores: int


def written(containers: Iterable[Sequence[Grant]]) -> str:
    """The value of TO_ALLOCATE and ALLOCATED. containers: init containers first, empty without a card."""
    return "".join(
        "".join(f"{each.card},{VENDOR},{each.memory_mib},{each.cores}:" for each in grants) + ";"
        for grants in containers
    )


def grants_of(annotation: str) -> list[tuple[Grant, ...]]:
    """What `written` was given. Raises ValueError when the annotation is not of this form."""
    *containers, rest = annotation.split(";")
    if rest:
        raise ValueError(f"{annotation[:200]!r} does not end with ';': want id,{VENDOR},MiB,cores:; each")
    return [_grants(text) for text in containers]


def registration(node: str, pool: Pool) -> str:
    """The value of REGISTER of a node of `pool`, as HAMi's device plugin writes it."""
    cards = [
        {
            "id": f"GPU-{node}-{index}",
            "index": index,
            "count": pool.slots,
            "devmem": pool.card_mib,
            "devcore": 100,
            "type": "NVIDIA-A100",
            "numa": 0,
            "mode": "hami-core",
            "health": True,
        }
        for index in range(pool.cards_per_node)
    ]
    return json.dumps(cards)


def registered(annotation: str) -> dict[str, Card]:
    """The healthy cards of a node, empty, by id. Raises ValueError when the annotation is none of HAMi's."""
    try:
        return {
            card["id"]: Card(int(card["devmem"]), int(card["count"]), int(card["numa"]))
            for card in json.loads(annotation)
            if card["health"]
        }
    except (KeyError, TypeError) as error:
        raise ValueError(f"{annotation[:200]!r} does not register cards: {error!r}") from error


def _grants(container: str) -> tuple[Grant, ...]:
    *cards, rest = container.split(":")
    if rest:
        raise ValueError(f"{container[:200]!r} does not end with ':': want id,{VENDOR},MiB,cores: each")
    return tuple(_grant(card) for card in cards)


def _grant(text: str) -> Grant:
    match text.split(","):
        case [card, _, memory, cores] if card and memory.isdecimal() and cores.isdecimal():
            return Grant(card, int(memory), int(cores))
    raise ValueError(f"{text[:200]!r} is no part of a card: want id,{VENDOR},MiB,cores")
