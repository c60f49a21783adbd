"""A worker to start from: it mirrors the photo it is given. `python -m worker.example`.

A real filter replaces `warm_up` and `handle`, and nothing else.
"""

import argparse
import logging
import time

import structlog

import worker

LOG = structlog.get_logger("surge.example")
OPTIONS = argparse.ArgumentParser(prog="worker.example")
OPTIONS.add_argument("--job-s", type=float, default=0.0, help="seconds that a photo takes on the GPU")


def warm_up() -> None:
    """Load the model, and run it once: the first photo must not pay for it."""
    LOG.info("model loaded")


def handle(job: worker.Job, job_s: float) -> None:
    """One photo. Return, and it is acked; raise, and it is tried again, up to the queue's delivery limit.

    A photo may come twice, after a crash: write results under its message_id, so that nothing doubles.
    """
    if not job.body:
        raise ValueError("an empty photo")
    time.sleep(job_s)  # what the GPU would take
    mirrored = job.body[::-1]
    LOG.info("photo done", message_id=job.message_id, bytes=len(mirrored))


if __name__ == "__main__":
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    job_s = OPTIONS.parse_args().job_s
    worker.run(lambda job: handle(job, job_s), warm_up=warm_up)
