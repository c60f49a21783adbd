"""Which shard a filter belongs to, and how many shards a fleet has.

A shard is the lowest bits of a hash of the filter's name, or of the worker set's that it shares. So an
entry never moves another, and when N shards become 2N, shard i gives half of its filters to shard i + N
and to nobody else: of all names half move, which is the least that any even split can move. That is why
the number is a power of two.
"""

from hashlib import sha256

__all__ = [
    "MOST_SHARDS",
    "ONE_STACK",
    "SHARD",
    "home_stack",
    "shard_of",
    "shard_stack",
    "usual_shards",
]

# Names carry two digits; 64 shards of 75 are four times the fleet we design for (1,200).
MOST_SHARDS = 64

# The engine's file and S3 backends write the whole state twice for every resource that changes: bytes grow
# with the square of the filters, and k shards divide them by k. A change of one filter takes the engine some
# 4 ms of CPU for each object of its shard, three a filter. See docs/fleet.md for the figures.
ONE_STACK = 300
SHARD = 75


def shard_of(name: str, shards: int) -> int:
    """Return the shard of a filter, 0 to shards - 1. Raises ValueError unless shards is a power of two."""
    if not 1 <= shards <= MOST_SHARDS or shards & (shards - 1):
        raise ValueError(f"{shards} shards: want a power of two, 1 to {MOST_SHARDS}")
    return int.from_bytes(sha256(name.encode()).digest()[-8:]) % shards


def usual_shards(filters: int) -> int:
    """Return into how many shards a new fleet goes: 1 for up to 300 filters, then of some 75 at most."""
    shards = 1
    if filters > ONE_STACK:
        while shards * SHARD < filters and shards < MOST_SHARDS:
            shards *= 2
    return shards


def shard_stack(stack: str, shard: int) -> str:
    """Return the name of a shard's stack, such as `onprem-shard-03`."""
    return f"{stack}-shard-{shard:02}"


def home_stack(stack: str, name: str, shards: int) -> str:
    """Return the stack that holds a filter: the fleet's own when there is one shard, else the shard's."""
    return stack if shards == 1 else shard_stack(stack, shard_of(name, shards))
