"""The ten clauses that a worker keeps, as data. docs/bring-your-own-worker.md shows the same lines."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["CLAUSES", "Clause", "Verdict"]


@dataclass(frozen=True)
class Clause:
    """checked: how `surge worker check` finds out. mend: what to do in a worker that breaks it."""

    number: int
    text: str
    checked: str
    mend: str


@dataclass(frozen=True)
class Verdict:
    clause: int
    state: Literal["kept", "broken", "not checked"]
    seen: str


CLAUSES = (
    Clause(
        1,
        "It reads SURGE_AMQP_URL_FILE, SURGE_QUEUE, SURGE_SLOTS, SURGE_PRIORITY and SURGE_GRACE_S, "
        "and answers /healthz and /readyz on SURGE_PROBE_PORT (8080).",
        "a broker, a queue, a priority and a port that it can only know from there",
        "read them at the start; consume SURGE_QUEUE once, with the consumer argument x-priority",
    ),
    Clause(
        2,
        "It loads its model before it consumes.",
        "the first jobs take no longer than the last ones",
        "load the model, and run it once, before basic.consume: the first message must not pay for it",
    ),
    Clause(
        3,
        "/readyz says 200 only after basic.consume-ok.",
        "the broker's consume-ok is held back for a second",
        "set Ready in the callback of basic.consume-ok: the autoscaler multiplies by Ready workers",
    ),
    Clause(
        4,
        "Its prefetch is its slots.",
        "basic.qos, and the most messages it held while more were waiting",
        "basic.qos(prefetch_count=SURGE_SLOTS) before basic.consume, and that many jobs at a time",
    ),
    Clause(
        5,
        "It acks a job after its work, and once.",
        "the time from each delivery to its ack, against --job-s",
        "no auto-ack; basic.ack when the result is stored; a crash before it is a redelivery, not a loss",
    ),
    Clause(
        6,
        "A job that fails goes back by basic.reject with requeue, and the worker lives on.",
        "a poison message, until the broker has given it up to the dead letters, then a good one",
        "catch what the job raises; basic.reject(requeue=true), as RabbitMQ counts no nack from 4.3 on",
    ),
    Clause(
        7,
        "When its connection is lost or closed it is un-Ready, comes back and consumes.",
        "the connection is cut, refused for a while, and later closed by the broker's own word",
        "connect again with growing waits, in the same process: the model is still warm",
    ),
    Clause(
        8,
        "A job that was in hand then is done again where the broker delivers it again.",
        "the message of the cut connection is acked once, on the new one",
        "drop the job and its delivery tag with the connection: a tag means nothing on another channel",
    ),
    Clause(
        9,
        "At SIGTERM it is un-Ready within a second, and takes nothing more.",
        "SIGTERM with every slot busy and more messages waiting",
        "un-Ready, basic.cancel, and no ack before cancel-ok: an ack makes room, and the broker fills it",
    ),
    Clause(
        10,
        "It then finishes what it holds, acks it, and exits with 0 within SURGE_GRACE_S.",
        "acks on the wire, the exit code, and what the queue holds afterwards",
        "let SIGTERM reach the process itself (exec, no shell around it), and close only after the last ack",
    ),
)
