"""The consumer contract of a filter's worker, as a small library.

    import worker

    worker.run(handle, warm_up=load_model)

Ready means consuming: a worker is Ready only after its model is warm and the broker has confirmed
its consumer. At SIGTERM it is un-Ready at once, takes nothing more, finishes, acks and exits.
"""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

from worker import pair
from worker.checkpoints import CheckpointError
from worker.consumer import Handler, Worker
from worker.idempotency import Finished, FinishedFiles, key_of
from worker.job import HandBack, Job
from worker.probes import probes
from worker.settings import Settings, SettingsError

__all__ = [
    "CheckpointError",
    "Finished",
    "FinishedFiles",
    "HandBack",
    "Handler",
    "Job",
    "Settings",
    "SettingsError",
    "Worker",
    "key_of",
    "pair",
    "run",
]


def run(
    handler: Handler,
    settings: Settings | None = None,
    *,
    warm_up: Callable[[], Any] | None = None,
    finished: Finished | None = None,
) -> None:
    """Consume until SIGTERM or SIGINT. settings: from the environment unless given (SettingsError)."""
    settings = settings or Settings.from_environment()
    asyncio.run(_run(Worker(handler, settings, warm_up=warm_up, finished=finished), settings.probe_port))


async def _run(worker: Worker, probe_port: int) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    async with await probes(probe_port, worker.tally):
        await worker.run()
