"""A worker to start from: it mirrors the photo it is given. `python -m worker.example`.

A real filter replaces `warm_up` and `handle`, and nothing else.
"""

import logging

import structlog

import worker

LOG = structlog.get_logger("surge.example")


def warm_up() -> None:
    """Load the model, and run it once: the first photo must not pay for it."""
    LOG.info("model loaded")


def handle(job: worker.Job) -> None:
    """One photo. Return, and it is acked; raise, and it is tried again, up to the queue's delivery limit.

    A photo may come twice, after a crash: write results under its message_id, so that nothing doubles.
    """
    if not job.body:
        raise ValueError("an empty photo")
    mirrored = job.body[::-1]
    LOG.info("photo done", message_id=job.message_id, bytes=len(mirrored))


if __name__ == "__main__":
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    worker.run(handle, warm_up=warm_up)
