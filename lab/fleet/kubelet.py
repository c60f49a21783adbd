"""The kubelet of one pod: from its scheduling to its removal."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from math import log, sqrt
from typing import TypeVar

import structlog

from lab.api_server import ApiError
from lab.fleet.cluster import Cluster
from lab.fleet.journal import Journal
from lab.fleet.pod import Pod, completed, status
from worker import Job, Settings, Worker

__all__ = ["Kubelet", "work_s"]

Answer = TypeVar("Answer")

# Of image models under a mixed load: the standard deviation of a job's time is 0.72 of its mean.
VARIATION = 0.72
RETRY_S = 0.5
# What is left of the grace after the worker's own, for the last status and the removal.
SPARE_S = 1.0


class Kubelet:
    """run: until the pod is over. see: told what the API server says of the pod. kill: end without a word."""

    def __init__(self, pod: Pod, address: str, cluster: Cluster, journal: Journal, seed: int) -> None:
        self._pod = pod
        self._address = address
        self._cluster = cluster
        self._journal = journal
        self._seed = seed
        self._started_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._ready = False
        self._report_due = asyncio.Event()
        self._deleted = asyncio.Event()
        self._gone = False
        self._killed = False
        self._completed = False
        self._log = structlog.get_logger("surge.fleet").bind(pod=pod.name)

    async def run(self) -> None:
        self._tell("warming", "warming")
        reporter = asyncio.create_task(self._report())
        self._report_due.set()
        try:
            await self._work()
        finally:
            reporter.cancel()
            self._journal.worker(self._end(), self._pod.filter, self._pod.name, state=None)
        if not self._deleted.is_set():
            await self._complete()
        if not self._gone:
            await self._until_heard(lambda: self._cluster.remove(self._pod.name, self._pod.uid))

    def see(self, pod: Pod) -> None:
        """Take note of a deletion, and of a Ready condition that somebody else has changed."""
        self._pod = pod
        if pod.ends_at is not None:
            self._deleted.set()
        elif pod.ready is not None and pod.ready != self._ready:
            # After an outage of the API server the node controller calls working pods un-Ready.
            self._report_due.set()

    def vanish(self) -> None:
        """The pod was removed by force."""
        self._gone = self._killed = True
        self._deleted.set()

    def _end(self) -> str:
        if self._completed:
            return "completed"
        return "drained" if self._deleted.is_set() and not self._killed else "killed"

    async def _complete(self) -> None:
        """The worker's shift is over; its pod stays until somebody removes it."""
        done = completed(self._pod, started_at=self._started_at)
        await self._until_heard(lambda: self._cluster.report(self._pod.name, done))
        await self._deleted.wait()

    async def _work(self) -> None:
        url = await self._until_heard(lambda: self._cluster.secret(self._pod.secret, "url"))
        if url is None:
            return
        worker = Worker(
            self._handle,
            Settings(
                filter=self._pod.filter,
                queue=self._pod.queue,
                members=self._pod.members,
                url=url,
                slots=self._pod.slots,
                priority=self._pod.priority,
                grace_s=3600,  # the pod's own grace is kept below
                name=self._pod.name,
                shift_s=self._pod.shift_s,
            ),
            warm_up=self._warm_up,
            on_ready=self._on_ready,
            on_finished=self._on_finished,
        )
        running = asyncio.create_task(worker.run())
        deleted = asyncio.create_task(self._deleted.wait())
        try:
            await asyncio.wait({running, deleted}, return_when=asyncio.FIRST_COMPLETED)
            if not self._gone and self._deleted.is_set():
                self._tell("draining", "draining")
                worker.stop()
                _, late = await asyncio.wait({running}, timeout=self._grace_left())
                self._killed = self._killed or bool(late)
            if running.done():
                running.result()
                self._completed = not self._deleted.is_set()
        finally:
            deleted.cancel()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _warm_up(self) -> None:
        await asyncio.sleep(self._pod.warmup_s)

    async def _handle(self, job: Job) -> None:
        pod = self._pod
        self._journal.started(job.filter, pod.name, job)
        try:
            await asyncio.sleep(work_s(pod, job, self._seed))
        except asyncio.CancelledError:
            self._journal.abandoned(job.filter, pod.name, job, self._reason())
            raise
        finally:
            self._journal.idle(job.filter)

    def _on_finished(self, job: Job, acked: bool) -> None:
        if acked:
            self._journal.finished(job.filter, self._pod.name, job)
        else:
            self._journal.abandoned(job.filter, self._pod.name, job, "broker")

    def _reason(self) -> str:
        if self._gone:
            return "killed"
        return "scale_in" if self._deleted.is_set() else "broker"

    def _on_ready(self, ready: bool) -> None:
        self._ready = ready
        self._report_due.set()
        if ready:
            self._tell("ready", "ready")
        elif not self._deleted.is_set():
            self._tell("unready", "warming")

    async def _report(self) -> None:
        """Keep the pod's status what it is, one report at a time, until the API server has heard it."""
        while True:
            await self._report_due.wait()
            self._report_due.clear()
            ready = self._ready
            await self._until_heard(
                lambda told=ready: self._cluster.report(
                    self._pod.name,
                    status(self._pod, ready=told, address=self._address, started_at=self._started_at),
                )
            )

    async def _until_heard(self, call: "Callable[[], Awaitable[Answer]]") -> "Answer | None":
        """Call again and again while the API server is away; None when the pod is gone from it."""
        while not self._gone:
            try:
                return await call()
            except ApiError as error:
                if error.status == 404 and self._deleted.is_set():
                    return None
                # Outages pass, and Fleet tells of them; a refusal stays until somebody mends it.
                if error.status:
                    self._log.warning("API server refuses", error=str(error))
                await asyncio.sleep(RETRY_S)
        return None

    def _grace_left(self) -> float:
        if self._pod.ends_at is None:
            return 0.0
        return max(0.0, self._pod.ends_at - time.time() - SPARE_S)

    def _tell(self, event: str, state: str) -> None:
        self._journal.worker(event, self._pod.filter, self._pod.name, state=state)


def work_s(pod: Pod, job: Job, seed: int) -> float:
    """Wall seconds of a job's work: log-normal, of its filter's mean, never over longest_job_s."""
    spread = log(1 + VARIATION**2)
    mean_s = pod.services.get(job.filter, pod.service_s)
    sample = random.Random(f"{seed}:{job.message_id}").lognormvariate(log(mean_s) - spread / 2, sqrt(spread))
    return min(sample, pod.longest_job_s)
