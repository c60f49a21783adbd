"""Three scenes with a worker of their own each; together they see all ten clauses."""

import asyncio
from collections.abc import Awaitable, Callable
from statistics import fmean

from surge.contract.clauses import Verdict
from surge.contract.scratch import DELIVERY_LIMIT
from surge.contract.stage import PRIORITY, Options, Stage, set_up
from surge.contract.subject import Subject
from surge.contract.wire import Delivery, deliveries, strays

__all__ = ["SCENES", "Scene"]

Scene = Callable[[Subject, Options], Awaitable[list[Verdict]]]

HOLD_S = 1.0
PROMPT_S = 1.0
UNREADY_S = 5.0


def kept(clause: int, seen: str) -> Verdict:
    return Verdict(clause, "kept", seen)


def broken(clause: int, seen: str) -> Verdict:
    return Verdict(clause, "broken", seen)


def unknown(clause: int, seen: str) -> Verdict:
    return Verdict(clause, "not checked", seen)


async def work(subject: Subject, options: Options) -> list[Verdict]:
    """From the start over a backlog to a poison message: clauses 1 to 6."""
    backlog = 4 * options.slots
    async with set_up(subject, options, backlog=backlog, hold_s=HOLD_S) as stage:
        if not await stage.consuming():
            return [broken(1, f"no consumer on SURGE_QUEUE after {options.ready_s:g} s: {stage.why_not()}")]
        await stage.until(lambda: stage.ready, UNREADY_S)
        await _until_acked(stage, backlog)
        found = [_settings(stage), _warmth(stage), _readiness(stage), _prefetch(stage), _acks(stage)]
        if len(stage.acked()) < backlog:
            return [*found, unknown(6, f"only {len(stage.acked())} of {backlog} good jobs were done before")]
        return [*found, await _poison(stage)]


async def _until_acked(stage: Stage, count: int) -> None:
    """Or until nothing moves any more."""
    done = -1
    while done < (done := len(stage.acked())) < count:
        await stage.until(lambda before=done: len(stage.acked()) > before, stage.options.patience_s)


def _settings(stage: Stage) -> Verdict:
    consumers = stage.of("consume")
    queue, _, priority = consumers[0].value
    if len(consumers) > 1:
        return broken(1, f"{len(consumers)} consumers: every figure of the filter counts one per worker")
    if queue != stage.scratch.queue:
        return broken(1, f"it consumes {queue!r}, and SURGE_QUEUE is {stage.scratch.queue!r}")
    if priority != PRIORITY:
        return broken(1, f"its consumer has x-priority {priority}, and SURGE_PRIORITY is {PRIORITY}")
    if not any(event.value == 200 for event in stage.of("/healthz")):
        return broken(1, "nobody says 200 to GET /healthz on SURGE_PROBE_PORT")
    return kept(1, "connected, consumes its queue with its priority, answers on its port")


def _warmth(stage: Stage) -> Verdict:
    done = [one.took_s for one in deliveries(stage.events) if one.answer == "ack"]
    slots = stage.options.slots
    if len(done) < 3 * slots:
        return unknown(
            2, f"it did {len(done)} jobs; {3 * slots} are needed to compare the first with the last"
        )
    first, last = max(done[:slots]), fmean(done[-slots:])
    seen = f"the first job took {first:.2f} s, the last ones {last:.2f} s"
    # Half a second: what the first job may pay for caches and sockets.
    return broken(2, seen) if first > 2 * last + 0.5 else kept(2, seen)


def _readiness(stage: Stage) -> Verdict:
    consuming_at = stage.of("consume-ok")[0].at
    ready = [event.at for event in stage.of("/readyz") if event.value == 200]
    if not ready:
        return broken(3, f"/readyz never said 200, {UNREADY_S:g} s after consume-ok")
    late = ready[0] - consuming_at
    if late < 0:
        return broken(3, f"/readyz said 200 {-late:.2f} s before consume-ok")
    return kept(3, f"200 came {late:.2f} s after consume-ok")


def _prefetch(stage: Stage) -> Verdict:
    slots, asked = stage.options.slots, [event.value for event in stage.of("qos")]
    seen = deliveries(stage.events)
    most = max((sum(_held(other, one.at) for other in seen) for one in seen), default=0)
    if most > slots:
        return broken(
            4, f"it held {most} messages, with SURGE_SLOTS={slots} and prefetch {asked or 'not set'}"
        )
    if asked and asked[-1] != slots:
        return broken(4, f"prefetch {asked[-1]}, with SURGE_SLOTS={slots}")
    return kept(4, f"prefetch {slots}, at most {most} messages held")


def _held(one: Delivery, at: float) -> bool:
    return one.at <= at and (not one.answer or one.answered_at > at)


def _acks(stage: Stage) -> Verdict:
    if any(no_ack for _, no_ack, _ in (event.value for event in stage.of("consume"))):
        return broken(5, "its consumer is no-ack: a message is gone the moment it is sent")
    if stray := strays(stage.events):
        closed = [event.value for event in stage.of("close")]
        return broken(
            5, f"an ack of tag {stray[0].tag}, which it did not hold ({'; '.join(closed) or 'again'})"
        )
    took = [one.took_s for one in deliveries(stage.events) if one.answer == "ack"]
    if not took:
        return broken(5, f"no job was acked: {stage.why_not()}")
    job_s = stage.options.job_s
    if job_s is None:
        return unknown(5, f"acks came after {min(took):.3f} s; say how long a job takes: --job-s SECONDS")
    seen = (
        f"acks came {min(took):.2f} to {max(took):.2f} s after their delivery, where a job takes {job_s:g} s"
    )
    return broken(5, seen) if min(took) < job_s / 2 else kept(5, seen)


async def _poison(stage: Stage) -> Verdict:
    await stage.poison("poison")

    async def dead() -> int:
        return (await stage.waiting())[1]

    patience_s = (DELIVERY_LIMIT + 1) * stage.options.patience_s
    end = asyncio.get_running_loop().time() + patience_s
    while (
        not (given_up := await dead()) and not stage.process.over and asyncio.get_running_loop().time() < end
    ):
        if "poison" in stage.acked():
            return broken(6, "it acked a message that it cannot have done: that is lost without a trace")
    if stage.process.over:
        return broken(6, f"the poison took the worker with it: {stage.process.end}")
    answers = [one.answer or "nothing" for one in deliveries(stage.events) if one.message == "poison"]
    if not given_up:
        return broken(6, f"after {patience_s:g} s it is no dead letter; it was answered by {answers}")
    if "nack" in answers:
        return broken(
            6, "it was sent back by basic.nack: RabbitMQ 4.3 does not count those, and sends for ever"
        )
    await stage.publish("after")
    if not await stage.until(lambda: "after" in stage.acked(), stage.options.patience_s):
        return broken(6, f"a good message after it is not done: {stage.why_not()}")
    return kept(6, f"{len(answers)} deliveries, then a dead letter; the next message was done")


async def loss(subject: Subject, options: Options) -> list[Verdict]:
    """A connection that is cut with a job in hand, and one that the broker closes: clauses 7 and 8."""
    async with set_up(subject, options) as stage:
        if not await _ready(stage, 1):
            return [_never_ready(7, stage)]
        stage.relay.cut_at_ack = not options.long
        await stage.publish("in-hand")
        await stage.until(lambda: bool(stage.of("deliver", "cut")), options.patience_s)
        if options.long:
            await asyncio.sleep((options.job_s or 0) / 3)
            stage.relay.refusing = True
            stage.relay.cut()
        else:
            await stage.until(lambda: bool(stage.of("cut")), options.patience_s)
        unready = await stage.until(lambda: not stage.ready, UNREADY_S)
        stage.relay.refusing = False
        if not unready:
            return [
                broken(7, f"/readyz still said 200 {UNREADY_S:g} s after its connection was cut"),
                unknown(8, "clause 7 is broken before it"),
            ]
        if not await _ready(stage, 2):
            return [
                broken(7, f"it did not come back after a cut: {stage.why_not()}"),
                unknown(8, "it did not come back, see clause 7"),
            ]
        again = await _done_again(stage)
        stage.relay.close_by_broker()
        if not await _ready(stage, 3):
            return [broken(7, f"it did not come back after the broker closed it: {stage.why_not()}"), again]
        return [kept(7, "un-Ready, and back after a cut and after a close by the broker"), again]


async def _ready(stage: Stage, times: int) -> bool:
    return await stage.consuming(times) and await stage.until(lambda: stage.ready, UNREADY_S)


def _never_ready(number: int, stage: Stage) -> Verdict:
    return unknown(number, f"it was never Ready: {stage.why_not()}")


async def _done_again(stage: Stage) -> Verdict:
    def done() -> bool:
        return "in-hand" in stage.acked() or bool(strays(stage.events))

    await stage.until(done, stage.options.patience_s)
    # What of the old job is still at work may yet answer with its old tag.
    await stage.until(lambda: bool(strays(stage.events)), stage.options.job_s or 0)
    if stray := strays(stage.events):
        return broken(8, f"it answered tag {stray[0].tag} of the lost connection on another one")
    seen = [one.answer or "nothing yet" for one in deliveries(stage.events) if one.message == "in-hand"]
    if "ack" not in seen[1:]:
        return broken(8, f"it was delivered {len(seen)} times, and not acked again: {', '.join(seen)}")
    return kept(8, "delivered again on the new connection, and acked there")


async def stop(subject: Subject, options: Options) -> list[Verdict]:
    """SIGTERM with every slot busy and more waiting: clauses 9 and 10."""
    async with set_up(subject, options) as stage:
        if not await _ready(stage, 1):
            return [_never_ready(9, stage)]
        total = options.slots + 2 if options.long else 100 * options.slots
        await stage.publish(*(f"job-{number}" for number in range(total)))
        busy = options.slots if options.long else 1
        if not await stage.until(lambda: len(deliveries(stage.events)) >= busy, options.patience_s):
            return [unknown(number, f"it took no job: {stage.why_not()}") for number in (9, 10)]
        await asyncio.sleep((options.job_s or 0) / 3 if options.long else 0)
        stage.process.terminate()
        stage.relay.note("SIGTERM", None)
        await stage.until(lambda: not stage.ready, PROMPT_S)
        unready = not stage.ready or stage.process.over
        await stage.until(lambda: False, options.grace_s)
        return [_nothing_more(stage, unready), await _finished(stage, total)]


def _nothing_more(stage: Stage, unready: bool) -> Verdict:
    at = stage.of("SIGTERM")[0].at
    if not unready:
        return broken(9, f"/readyz still said 200 {PROMPT_S:g} s after SIGTERM")
    more = [one for one in deliveries(stage.events) if one.at > at]
    if not stage.options.long:
        return unknown(
            9, "un-Ready at once; what it takes can be told with jobs of a second: --job-s, --message"
        )
    if more:
        cancel = any(event.at < more[0].at for event in stage.of("cancel"))
        how = (
            "its basic.cancel crossed it: ack nothing before cancel-ok" if cancel else "it had not cancelled"
        )
        return broken(9, f"{more[0].message} came {more[0].at - at:.2f} s after SIGTERM; {how}")
    return kept(9, "un-Ready at once, no message after SIGTERM")


async def _finished(stage: Stage, total: int) -> Verdict:
    if not stage.process.over:
        return broken(10, f"it still runs {stage.options.grace_s} s after SIGTERM, and would be killed")
    all_of_it = deliveries(stage.events)
    left = [one.message for one in all_of_it if one.answer != "ack"]
    if left:
        return broken(10, f"it left {len(left)} of {len(all_of_it)} jobs unfinished; {stage.process.end}")
    if stage.process.code != 0:
        return broken(10, f"all jobs were acked, and then {stage.process.end}")
    done, waiting = len(stage.acked()), -1
    end = asyncio.get_running_loop().time() + UNREADY_S
    while waiting != total - done and asyncio.get_running_loop().time() < end:
        waiting, _dead = await stage.waiting()
    seen = f"{done} of {total} jobs acked, {waiting} left in the queue, exit code 0"
    return kept(10, seen) if waiting == total - done else broken(10, seen)


SCENES: dict[Scene, range] = {work: range(1, 7), loss: range(7, 9), stop: range(9, 11)}
