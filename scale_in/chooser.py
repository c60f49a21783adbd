"""The loop: look at the HPAs; while a scale-in is near, look at the workers and move the marks."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from scale_in.api import FILTER_LABEL, Api, ApiError
from scale_in.broker import Broker, BrokerError
from scale_in.metrics import Metrics
from scale_in.settings import Settings
from surge.policy.scale_in import COST, FIRST, Move, Worker, is_near, largest_step, moves, with_turns

__all__ = ["Chooser"]

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 10.0


class Chooser:
    """run: until cancelled; survives outages of the API server and of the broker, and touches nothing
    meanwhile: without a mark a scale-in is what it is without us."""

    def __init__(
        self,
        api: Api,
        broker: Broker,
        settings: Settings,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api, self._broker, self._settings, self._metrics = api, broker, settings, metrics
        self._clock = clock
        self._steps: dict[str, int] = {}
        self._looked_at = float("-inf")
        self._seen: dict[str, tuple[int, float]] = {}
        self._log = structlog.get_logger("surge.scale_in")

    async def run(self) -> None:
        waited = FIRST_WAIT_S
        while True:
            try:
                await self.round()
                waited = FIRST_WAIT_S
                await asyncio.sleep(self._settings.tick_s)
            except (ApiError, BrokerError) as error:
                of = "api" if isinstance(error, ApiError) else "broker"
                self._metrics.errors.labels(of).inc()
                self._log.warning("round failed", of=of, error=str(error), again_in_s=waited)
                # Jittered: it is not the only one that comes back after an outage.
                await asyncio.sleep(random.uniform(waited / 2, waited))  # noqa: S311
                waited = min(2 * waited, LONGEST_WAIT_S)

    async def round(self) -> None:
        """One look, and the changes that follow. Raises ApiError, BrokerError."""
        if self._clock() - self._looked_at >= self._settings.look_s:
            await self._look()
        if self._steps:
            workers = await self._workers()
            await self._change(self._wanted(workers))

    async def _look(self) -> None:
        with self._metrics.reads.labels("autoscalers").time():
            found = await self._api.autoscalers()
        self._looked_at = self._clock()
        steps = {
            item["spec"]["scaleTargetRef"]["name"]: largest_step(item) for item in found if is_near(item)
        }
        self._steps = {
            name: step for name, step in steps.items() if step and name not in self._settings.leave
        }
        self._metrics.near.set(len(self._steps))
        self._metrics.marked.clear()

    async def _workers(self) -> dict[str, list[Worker]]:
        """By filter: the workers that consume and that nobody has deleted yet."""
        with self._metrics.reads.labels("pods").time():
            pods = await self._api.pods(self._steps)
        with self._metrics.reads.labels("broker").time():
            jobs = await self._broker.jobs()
        now = self._clock()
        self._seen = {
            pod: before if (before := self._seen.get(pod)) and before[0] == count else (count, now)
            for pod, count in jobs.items()
        }
        found: dict[str, list[Worker]] = defaultdict(list)
        for meta in (pod["metadata"] for pod in pods):
            if meta["name"] in self._seen and "deletionTimestamp" not in meta:
                found[meta["labels"][FILTER_LABEL]].append(self._worker(meta))
        for name, workers in found.items():
            self._metrics.marked.labels(name).set(sum(each.marked for each in workers))
        return found

    def _worker(self, meta: Mapping[str, Any]) -> Worker:
        count, since = self._seen[meta["name"]]
        return Worker(meta["name"], count, since, marked=meta.get("annotations", {}).get(COST) == FIRST)

    def _wanted(self, workers: Mapping[str, list[Worker]]) -> list[Move]:
        """In another order of the filters each time, so that a limit does not meet the same ones always."""
        of_filters = [moves(each, self._steps[name]) for name, each in workers.items()]
        random.shuffle(of_filters)
        return with_turns(of_filters)

    async def _change(self, wanted: list[Move]) -> None:
        most = max(1, int(self._settings.patches_per_s * self._settings.tick_s))
        self._metrics.held_back.inc(max(0, len(wanted) - most))
        await asyncio.gather(*map(self._price, wanted[:most]))

    async def _price(self, move: Move) -> None:
        if await self._api.price(move.pod, FIRST if move.mark else None):
            self._metrics.patches.labels("mark" if move.mark else "unmark").inc()
