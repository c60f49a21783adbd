"""Settings of one stack: the object under `surge:settings` in `Pulumi.<stack>.yaml`.

Times are model seconds (see surge/policy/timescale.py).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from surge.model.base import DnsLabel, Rule, Seconds, Strict, problems_of
from surge.model.problems import ProblemsError, did_you_mean, joined, shown
from surge.model.values import Place
from surge.model.workers import Workers
from surge.policy.gpu import Pool, pool_refusals
from surge.policy.ports import BLOCK, HIGHEST, Ports
from surge.policy.shards import MOST_SHARDS
from surge.policy.timescale import TimeScale
from surge.policy.topology import DEAD_LETTERS

__all__ = [
    "OWN_POOL",
    "Broker",
    "Cluster",
    "Fleet",
    "GpuPool",
    "Prometheus",
    "Saturation",
    "ScaleIn",
    "Settings",
]

WHERE = "surge:settings"

OWN_POOL = "gpu"
SHARDS = tuple(2**bits for bits in range(MOST_SHARDS.bit_length()))
USUAL_SLOTS = {"whole": 1, "shared": 10, "pairs": 2}

# A warm-up of 60 s takes 8 s: a 7x spike of an hour is over in eight minutes.
LOCAL_TIME_FACTOR = 7.5


def _base_port(port: int) -> int:
    try:
        Ports(port)
    except ValueError as error:
        raise ValueError(
            f"{port}: a cluster takes {BLOCK} ports from here, and they must lie between 1024 and {HIGHEST} "
            f"(above, the kernel hands them to clients): choose 1024 to {HIGHEST + 1 - BLOCK}"
        ) from error
    return port


def _shards(value: Any) -> int | None:
    if value == "auto":
        return None
    if isinstance(value, bool) or value not in SHARDS:
        raise ValueError(
            f"{shown(value)} is no number of shards: want auto, or one of {', '.join(map(str, SHARDS))}"
        )
    return value


def _retention(text: str) -> str:
    if not (2 <= len(text) <= 6 and text[:-1].isascii() and text[:-1].isdigit() and text[-1] in "mhdw"):
        raise ValueError(f"{shown(text)} is no retention time: want a number and m, h, d or w, such as 2h")
    return text


def _queue(text: str) -> str:
    if text != DEAD_LETTERS and not text.startswith("filter."):
        raise ValueError(f"{shown(text)} is no queue of the fleet: want filter.NAME, or {DEAD_LETTERS}")
    return text


def _owned(text: str) -> str:
    kind, _, name = text.partition(" ")
    if kind not in {"user", "policy"} or not name:
        raise ValueError(
            f"{shown(text)} is nothing that can be taken over: want user NAME or policy NAME; a queue or an "
            "exchange that is otherwise than wanted cannot be changed"
        )
    return text


def _pools(pools: dict[str, Any]) -> dict[str, Any]:
    if OWN_POOL in pools:
        raise ValueError(
            f"{OWN_POOL} is the pool of cluster.nodes and cluster.gpus-per-node: choose another name"
        )
    return pools


def _relative(text: str) -> str:
    if not text or text.startswith("/") or ".." in text.split("/") or "\0" in text:
        raise ValueError(f"{shown(text)} must be a path inside the project, such as filters.yaml")
    return text


class GpuPool(Strict):
    """GPU nodes with equal cards, beside the pool `gpu` of the cluster's own `nodes`.

    kind: `whole`, the plain device plugin; `shared`, HAMi for parts of cards; `pairs`, HAMi for pairs
    of long-lived containers and nothing else. slots: containers a card is shown to (HAMi's split
    count), not to be changed while pods run. card_mib: memory of a card.
    """

    kind: Literal["whole", "shared", "pairs"]
    nodes: Annotated[int, Field(ge=1, le=1_000)]
    gpus_per_node: Annotated[int, Field(ge=1, le=16)] = 8
    card_mib: Annotated[int, Field(ge=1_024, le=1_000_000)] = 81_920
    slots: Annotated[int, Field(ge=1, le=100)] | None = None
    gpu_policy: Literal["binpack", "spread"] = "binpack"

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if found := pool_refusals(self.named("")):
            raise ValueError("; also ".join(map(str, found)))
        return self

    def named(self, name: str) -> Pool:
        """The pool as the policy knows it."""
        slots = self.slots or USUAL_SLOTS[self.kind]
        return Pool(name, self.kind, self.nodes, self.gpus_per_node, self.card_mib, slots, self.gpu_policy)


class Cluster(Strict):
    """The cluster of the stack; ports and nodes matter on a local one only."""

    name: DnsLabel
    base_port: Annotated[int, AfterValidator(_base_port)] = 21_000
    nodes: Annotated[int, Field(ge=1, le=1_000)] = 5
    gpus_per_node: Annotated[int, Field(ge=1, le=16)] = 8
    hpa_sync_s: Annotated[Seconds, Field(le=300)] = 15.0
    pools: Annotated[dict[DnsLabel, GpuPool], AfterValidator(_pools)] = Field(default_factory=dict)

    @property
    def gpu_pools(self) -> tuple[Pool, ...]:
        """All pools; the first is the cluster's own nodes, whole GPUs each."""
        own = Pool(OWN_POOL, "whole", self.nodes, self.gpus_per_node)
        return own, *(pool.named(name) for name, pool in sorted(self.pools.items()))

    @property
    def gpus(self) -> int:
        return self.nodes * self.gpus_per_node


class Broker(Strict):
    """statistics_s: how often a queue tells its numbers (statistics interval, tick of quorum queues).
    delete_non_empty: queues that may be deleted with the messages in them. adopt: users and policies of
    others that may be changed, such as `user worker.seoul` (docs/topology.md)."""

    statistics_s: Annotated[Seconds, Field(le=60)] = 1.0
    delete_non_empty: list[Annotated[str, AfterValidator(_queue)]] = Field(default_factory=list)
    adopt: list[Annotated[str, AfterValidator(_owned)]] = Field(default_factory=list)


class Saturation(Strict):
    """sample_s: how often the metric server reads the broker. stale_s: older samples are answered by 503."""

    sample_s: Annotated[Seconds, Field(le=60)] = 1.5
    stale_s: Annotated[Seconds, Field(le=600)] = 20.0

    @model_validator(mode="after")
    def _outlives_a_slow_read(self) -> Self:
        if self.stale_s < 3 * self.sample_s:
            raise ValueError(
                f"stale-s {self.stale_s:g} is less than three samples of {self.sample_s:g} s: one slow "
                f"answer of the broker would freeze scaling; want at least {3 * self.sample_s:g}"
            )
        return self


class Prometheus(Strict):
    scrape_s: Annotated[Seconds, Field(le=600)] = 15.0
    retention: Annotated[str, AfterValidator(_retention)] = "2h"


class ScaleIn(Strict):
    """idle_first: mark idle workers, so that a scale-in takes them (docs/scale-in.md). leave: filters whose
    workers are not marked. patches_per_s: of the API server, at most, in wall seconds."""

    idle_first: bool = True
    leave: Annotated[list[str], Field(max_length=10_000)] = Field(default_factory=list)
    patches_per_s: Annotated[float, Field(gt=0, le=1_000)] = 20.0


class Fleet(Strict):
    """shards: stacks that the filters are spread over, a power of two; None (`auto` in the file) leaves it to
    `usual_shards` at the first update. Changed on a fleet that is up, it is a move: `surge fleet reshard`."""

    shards: Annotated[int | None, BeforeValidator(_shards)] = None


# Of a GPU hour, by pool; in whatever money the team counts.
Prices = dict[DnsLabel, Annotated[float, Field(gt=0, le=100_000)]]


class Settings(Strict):
    """All settings of one stack."""

    stack_kind: Literal["local", "onprem", "aws", "burst"]
    time_factor: Annotated[float, Field(ge=1, le=60)] = 1.0
    catalogue: Annotated[str, AfterValidator(_relative)] = "filters.yaml"
    cluster: Cluster
    broker: Broker = Broker()
    saturation: Saturation = Saturation()
    prometheus: Prometheus = Prometheus()
    workers: Workers = Workers()
    prices: Prices = Field(default_factory=dict)
    fleet: Fleet = Fleet()
    scale_in: ScaleIn = ScaleIn()

    @classmethod
    def parse(cls, mapping: Mapping[str, Any] | None) -> Self:
        """Return the settings in `mapping`. Raises ProblemsError with every problem at once."""
        given = {} if mapping is None else mapping
        if not isinstance(given, Mapping):
            raise ProblemsError([f"{WHERE}: {shown(given)} is not a mapping"])
        if given.get("stack-kind") == "local":
            given = {"time-factor": LOCAL_TIME_FACTOR, **given}
        problems = problems_of(cls, given, RULES)
        if problems:
            raise ProblemsError(f"{joined((WHERE, *path))}: {text}" for path, text in problems)
        return cls.model_validate(given)

    @property
    def place(self) -> Place:
        """Whose machines the stack runs on; a local one stands for our own."""
        return "onprem" if self.stack_kind in {"local", "onprem"} else "cloud"

    @property
    def known_pools(self) -> tuple[Pool, ...]:
        """The pools whose nodes are known: those that the settings state, and all of a local stack."""
        own, *others = self.cluster.gpu_pools
        stated = self.stack_kind == "local" or "nodes" in self.cluster.model_fields_set
        return (own, *others) if stated else tuple(others)

    @property
    def time_scale(self) -> TimeScale:
        return TimeScale(self.time_factor)

    @property
    def ports(self) -> Ports:
        return Ports(self.cluster.base_port)


def _only_local_compresses_time(factor: float, kind: str) -> str | None:
    if kind == "local" or factor == 1:
        return None
    return f"{factor:g} on a stack of kind {kind}: only a local stack can compress time; remove the key"


def _known_pools(prices: Mapping[str, float], cluster: Mapping[str, Any]) -> str | None:
    pools = [OWN_POOL, *cluster.get("pools", {})]
    unknown = [name for name in prices if name not in pools]
    return f'there is no pool "{unknown[0]}"{did_you_mean(unknown[0], pools)}' if unknown else None


RULES = (
    Rule(("time-factor", "stack-kind"), _only_local_compresses_time),
    Rule(("prices", "cluster"), _known_pools),
)
