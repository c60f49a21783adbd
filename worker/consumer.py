"""The worker: warm, consume, be ready, work, drain."""

import asyncio
import contextlib
import inspect
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from worker.checkpoints import Checkpoints
from worker.files import sweep
from worker.idempotency import Finished, FinishedFiles
from worker.job import HandBack, Job
from worker.metrics import Tally
from worker.pool import PATROL_S, Pool, Taken
from worker.session import LostError, Session
from worker.settings import Settings
from worker.shift import shift

__all__ = ["Handler", "Worker"]

Handler = Callable[[Job], Any]
Take = Callable[[Session], Awaitable[Taken | None]]

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
# This long before the end of the grace, whatever still works is asked for a checkpoint.
LAST_CALL_S = 5.0
# Nobody delivers again what is this old.
KEEP_S = 7 * 86_400.0


class Worker:
    """Consumes one queue, or those of a set, until it is stopped. Many of them can share one event loop.

    handler: does the work of one job; a coroutine function runs in the loop, any other in a thread.
    A job is acked after its handler returned. A handler that raises sends the job back to the queue,
    which gives it up to the dead letters after its delivery limit; one that raises HandBack sends it
    back without a failure.
    warm_up: loads the model, before anything is consumed. on_ready: told True after
    basic.consume-ok, and False at a stop or a lost connection. on_finished: told of each job whose
    handler returned, and whether its ack went out; if not, somebody will do it again. finished: where
    jobs that are done are remembered, so that such a one is acked unseen; files in settings.shared
    unless given.
    """

    def __init__(
        self,
        handler: Handler,
        settings: Settings,
        *,
        warm_up: Callable[[], Any] | None = None,
        on_ready: Callable[[bool], None] = lambda _ready: None,
        on_finished: Callable[[Job, bool], None] = lambda _job, _acked: None,
        finished: Finished | None = None,
    ) -> None:
        self._handler = handler
        self._settings = settings
        self._warm_up = warm_up
        self._on_ready = on_ready
        self._on_finished = on_finished
        self._log = structlog.get_logger("surge.worker").bind(filter=settings.filter, worker=settings.name)
        self._stopping = asyncio.Event()
        self._jobs: set[asyncio.Task[None]] = set()
        self._at_work: dict[int, Job] = {}
        self._pool = Pool(settings.members) if settings.members else None
        self._room = asyncio.Semaphore(settings.slots)
        shared = settings.shared
        self._checkpoints = None if shared is None else Checkpoints(shared / "checkpoints")
        self._finished = FinishedFiles(shared / "finished") if finished is None and shared else finished
        self._threads = ThreadPoolExecutor(settings.slots, thread_name_prefix=settings.name)
        self.tally = Tally(settings.filter, settings.slots)

    @property
    def ready(self) -> bool:
        return self.tally.ready

    async def run(self) -> None:
        """Work until `stop` or the shift's end, then finish the jobs in hand. Cancel the task to die without
        a word."""
        seconds = self._settings.shift_s
        ends = None if seconds is None else asyncio.create_task(shift(self, seconds))
        try:
            if self._settings.shared is not None:
                await self._call(_sweep, self._settings.shared)
            if self._warm_up is not None:
                await self._or_stop(self._call(self._warm_up))
            waited = FIRST_WAIT_S
            while not self._stopping.is_set():
                try:
                    await self._serve()
                except LostError as error:
                    if self.ready:
                        waited = FIRST_WAIT_S
                    self._tell(False)
                    self._log.warning("broker lost", reason=str(error))
                    # Jittered, so that a thousand workers do not come back in the same second.
                    await self._or_stop(asyncio.sleep(random.uniform(waited / 2, waited)))  # noqa: S311
                    waited = min(2 * waited, LONGEST_WAIT_S)
        finally:
            if ends is not None:
                ends.cancel()
            self._tell(False)
            for job in self._jobs:
                job.cancel()
            self._threads.shutdown(wait=False, cancel_futures=True)

    def stop(self) -> None:
        """Un-Ready at once, then drain. Call it in the event loop."""
        self._tell(False)
        self.tally.drain()
        self._stopping.set()
        for job in self._at_work.values():
            self._recall_if_late(job)

    async def _serve(self) -> None:
        session = Session(self._settings, lambda job, tag: self._start(self._receive(session, job, tag)))
        try:
            await session.open()
            if not self._stopping.is_set():
                self._tell(True)
                await self._or_stop(session.wait_lost() if self._pool is None else self._patrol(session))
            # Also after a stop that came before we were Ready: a message may be here already.
            await self._drain(session)
        except LostError:
            await self._drop_jobs()
            raise
        except asyncio.CancelledError:
            session.drop()
            raise
        finally:
            await session.close()

    async def _drain(self, session: Session) -> None:
        await session.cancel()
        grace_s = self._settings.grace_s
        last_call_s = min(LAST_CALL_S, grace_s / 4)
        if await self._late(grace_s - last_call_s):
            for job in self._at_work.values():
                job.recall()
        if late := await self._late(last_call_s):
            self._log.error("jobs outlived the grace period", jobs=late, grace_s=grace_s)

    async def _late(self, patience_s: float) -> int:
        """How many jobs are still at work after `patience_s`."""
        return len((await asyncio.wait(self._jobs, timeout=patience_s))[1]) if self._jobs else 0

    def _recall_if_late(self, job: Job) -> None:
        """At a stop: a job that cannot be done in the grace goes on elsewhere, the sooner the better."""
        if job.deadline > time.time() + self._settings.grace_s and job.checkpoints is not None:
            job.recall()

    async def _drop_jobs(self) -> None:
        """Without a connection no job can be acked: the broker gives them to others."""
        for job in self._at_work.values():
            job.recall()  # a thread cannot be cancelled: it must see for itself
        jobs = list(self._jobs)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
        return task

    async def _receive(self, session: Session, job: Job, tag: int) -> None:
        if self._pool is None:
            await self._work(session, job, tag)
        else:
            await self._take(session, self._pool.take, tag)

    async def _take(self, session: Session, take: Take, *rings: int) -> None:
        """Work on a message of a member; what rang for it is settled with it."""
        try:
            async with self._room:
                taken = await take(session)
                if taken is None:
                    await session.ack(*rings)
                else:
                    await self._work(session, taken.job, taken.tag, *rings)
        except LostError:
            self._log.debug("broker lost while looking for work")

    async def _patrol(self, session: Session) -> None:
        """Serve messages that nobody rang for while there is nothing else to do. Raises LostError."""
        assert self._pool is not None  # noqa: S101 -- the caller asked
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(session.wait_lost(), PATROL_S)
            while not self._jobs and await self._pool.waits(session):
                # Never cancelled: a stop waits for it like for any job.
                await asyncio.wait({self._start(self._take(session, self._pool.look))})

    async def _work(self, session: Session, job: Job, *tags: int) -> None:
        latest = time.time() + self._settings.longest_job_s
        job = replace(job, deadline=min(job.deadline, latest), checkpoints=self._checkpoints)
        if self._stopping.is_set():
            self._recall_if_late(job)
        self._at_work[id(job)] = job
        self.tally.busy += 1
        try:
            await self._answer(session, job, await self._outcome(job), tags)
        finally:
            self.tally.busy -= 1
            del self._at_work[id(job)]

    async def _answer(self, session: Session, job: Job, outcome: str, tags: Sequence[int]) -> None:
        answer = {"failed": session.refuse, "handed_back": session.hand_back}.get(outcome, session.ack)
        told = await answer(*tags)
        if outcome == "done":
            self._on_finished(job, told)
        if not told:
            self._log.warning("the broker is gone, and will deliver the job again", **_words(job, outcome))
            return
        self.tally.jobs[outcome] += 1
        if answer == session.ack and self._checkpoints is not None:
            await self._call(self._checkpoints.drop, job.key)

    async def _outcome(self, job: Job) -> str:
        """Do the job, unless it was done before; returns how it ended, a word of metrics.OUTCOMES."""
        try:
            if job.redelivered and self._finished and await self._call(self._finished.has, job.key):
                return "repeated"
            await self._call(self._handler, job)
        except HandBack:
            return "handed_back"
        except Exception as error:  # noqa: BLE001 -- a handler is foreign code: whatever it raises is the job's failure
            self._log.error(
                "job failed", message_id=job.message_id, attempt=job.delivery_count + 1, exc_info=error
            )
            return "failed"
        if self._finished is not None:
            try:
                await self._call(self._finished.add, job.key)
            except OSError as error:
                self._log.error("no record: a redelivery would do it again", **_words(job, str(error)))
        return "done"

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def _or_stop(self, work: Awaitable[Any]) -> None:
        """Await `work`, or a stop, whichever comes first."""
        task = asyncio.ensure_future(work)
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            task.cancel()
            stopped.cancel()

    def _tell(self, ready: bool) -> None:
        if ready != self.ready:
            self.tally.ready = ready
            self._on_ready(ready)


def _sweep(shared: Path) -> None:
    """Remove what jobs left that ended as dead letters, and records of long ago."""
    for folder in shared.iterdir():
        sweep(folder, KEEP_S)


def _words(job: Job, why: str) -> dict[str, str]:
    return {"message_id": job.message_id, "why": why}
