"""What the lab's own processes have in common: their log, and their end."""

import asyncio
import logging
import signal
from collections.abc import Coroutine
from typing import Any

import structlog

__all__ = ["log_as_json", "until_told"]


def log_as_json() -> None:
    """A line of JSON for each event from level INFO on."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )


async def until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until SIGTERM or SIGINT cancels it; raises what it fails with."""
    running = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    await asyncio.gather(running, return_exceptions=True)
    if not running.cancelled() and (error := running.exception()) is not None:
        raise error
