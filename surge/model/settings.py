"""Settings of one stack: the object under `surge:settings` in `Pulumi.<stack>.yaml`.

Times are model seconds (see surge/policy/timescale.py).
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from surge.model.base import DnsLabel, Rule, Seconds, Strict, problems_of
from surge.model.problems import ProblemsError, joined, shown
from surge.policy.ports import BLOCK, HIGHEST, Ports
from surge.policy.timescale import TimeScale

__all__ = ["Broker", "Cluster", "Prometheus", "Saturation", "Settings"]

WHERE = "surge:settings"

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


def _retention(text: str) -> str:
    if not (2 <= len(text) <= 6 and text[:-1].isascii() and text[:-1].isdigit() and text[-1] in "mhdw"):
        raise ValueError(f"{shown(text)} is no retention time: want a number and m, h, d or w, such as 2h")
    return text


def _relative(text: str) -> str:
    if not text or text.startswith("/") or ".." in text.split("/") or "\0" in text:
        raise ValueError(f"{shown(text)} must be a path inside the project, such as filters.yaml")
    return text


class Cluster(Strict):
    """The cluster of the stack; ports and nodes matter on a local one only."""

    name: DnsLabel
    base_port: Annotated[int, AfterValidator(_base_port)] = 21_000
    nodes: Annotated[int, Field(ge=1, le=1_000)] = 5
    gpus_per_node: Annotated[int, Field(ge=1, le=16)] = 8
    hpa_sync_s: Annotated[Seconds, Field(le=300)] = 15.0

    @property
    def gpus(self) -> int:
        return self.nodes * self.gpus_per_node


class Broker(Strict):
    """statistics_s: how often a queue tells its numbers (statistics interval, tick of quorum queues)."""

    statistics_s: Annotated[Seconds, Field(le=60)] = 2.0


class Saturation(Strict):
    """sample_s: how often the metric server reads the broker. stale_s: older samples are answered by 503."""

    sample_s: Annotated[Seconds, Field(le=60)] = 2.0
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


class Settings(Strict):
    """All settings of one stack."""

    stack_kind: Literal["local", "onprem", "aws", "burst"]
    time_factor: Annotated[float, Field(ge=1, le=60)] = 1.0
    catalogue: Annotated[str, AfterValidator(_relative)] = "filters.yaml"
    cluster: Cluster
    broker: Broker = Broker()
    saturation: Saturation = Saturation()
    prometheus: Prometheus = Prometheus()

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
    def time_scale(self) -> TimeScale:
        return TimeScale(self.time_factor)

    @property
    def ports(self) -> Ports:
        return Ports(self.cluster.base_port)


def _only_local_compresses_time(factor: float, kind: str) -> str | None:
    if kind == "local" or factor == 1:
        return None
    return f"{factor:g} on a stack of kind {kind}: only a local stack can compress time; remove the key"


RULES = (Rule(("time-factor", "stack-kind"), _only_local_compresses_time),)
