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

from worker.consumer import Handler, Worker
from worker.job import Job
from worker.probes import probes
from worker.settings import Settings, SettingsError

__all__ = ["Handler", "Job", "Settings", "SettingsError", "Worker", "run"]


def run(
    handler: Handler, settings: Settings | None = None, *, warm_up: Callable[[], Any] | None = None
) -> None:
    """Consume until SIGTERM or SIGINT. settings: from the environment unless given (SettingsError)."""
    asyncio.run(_run(handler, settings or Settings.from_environment(), warm_up))


async def _run(handler: Handler, settings: Settings, warm_up: Callable[[], Any] | None) -> None:
    worker = Worker(handler, settings, warm_up=warm_up)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    async with await probes(settings.probe_port, worker.tally):
        await worker.run()
