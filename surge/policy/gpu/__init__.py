"""GPU shapes: what a worker asks for, which pool may take it, where HAMi puts it, what is left unusable."""

from surge.policy.gpu.admission import Pool, Refusal, home_of, largest_k, pool_refusals, refusals, slots_for
from surge.policy.gpu.guard import guard_objects
from surge.policy.gpu.hami import Books, Card, Placement, Pod, Request
from surge.policy.gpu.packing import Packing, pack, stranded_mib, workers_on
from surge.policy.gpu.shapes import Fraction, Pair, Shape, Share, Whole, limits, pod_of, request_of

__all__ = [
    "Books",
    "Card",
    "Fraction",
    "Packing",
    "Pair",
    "Placement",
    "Pod",
    "Pool",
    "Refusal",
    "Request",
    "Shape",
    "Share",
    "Whole",
    "guard_objects",
    "home_of",
    "largest_k",
    "limits",
    "pack",
    "pod_of",
    "pool_refusals",
    "refusals",
    "request_of",
    "slots_for",
    "stranded_mib",
    "workers_on",
]
