"""1,200 queues under random load and faults: every served value is compared with the truth."""

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from math import ceil, isfinite
from typing import Any

import pytest

from lab.broker import ScratchBroker
from lab.truth import MOST_MESSAGES, MOST_WORKERS, SLOTS, Driver, Truth
from metrics_server.events import EXCHANGE, KEYS, SETTLE_S
from metrics_server.watch import DOUBTS, ROUND_S, TRIES
from surge.policy.topology import EVENT_QUEUES
from tests.broker.saturation_server import Server, eventually

pytestmark = [pytest.mark.broker, pytest.mark.timeout(7200)]

BASE_PORT = 23_100
QUEUES, DRIVERS = 1_200, 4
CHANGES_PER_S = 10.0
# The broker's emission interval, and how long a loaded machine of two cores may lag behind.
EMISSION_S, LAG_S = 1.0, 4.0
# An event that was lost: until the next declare is believed.
HEALS_S = ROUND_S + (1 + TRIES + DOUBTS) * SETTLE_S
MINUTES_A_RESTART = 1.5
MINUTES = float(os.environ.get("SURGE_SOAK_MINUTES", "10"))
KINDS = {f"filter.soak-{number}": ("classic", "quorum")[number % 2] for number in range(QUEUES)}
# The bindings of the server's exclusive queue are in nobody's reach but the node's own.
QUEUE = f"""
Source = rabbit_misc:r(<<"surge">>, exchange, <<"{EXCHANGE}">>),
[Queue] = [Name || Each <- rabbit_amqqueue:list(<<"surge">>), Name <- [amqqueue:get_name(Each)],
    binary:match(element(4, Name), <<"{EVENT_QUEUES}.">>) =/= nomatch],
"""
UNBIND = f"""{QUEUE}
[rabbit_binding:remove(Each, <<"admin">>)
    || Each <- rabbit_binding:list_for_source_and_destination(Source, Queue)], ok.
"""
KEYS_OF_THE_SERVER = ", ".join(f'<<"{key}">>' for key in KEYS)
BIND = f"""{QUEUE}
[rabbit_binding:add({{binding, Source, Key, Queue, []}}, <<"admin">>) || Key <- [{KEYS_OF_THE_SERVER}]], ok.
"""


class Comparison:
    """Of each poll of the server with the drivers' accounts."""

    def __init__(self, server: Server, drivers: list[Driver]) -> None:
        self.server = server
        self.accounts = {queue: account for driver in drivers for queue, account in driver.accounts.items()}
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.late = 0
        self.broker_is_up = True
        self.healed_at = 0.0

    def poll(self) -> None:
        asked = time.time()
        status, body = self.server.get("/v1/filters")
        span = asked, time.time()
        assert status == 200
        served = {f"filter.{item['filter']}": item for item in body["filters"]}
        for queue in KINDS:
            self._compare(queue, served.get(queue), span)
        live = self.server.samples("live_consumers")
        for queue in KINDS:
            self._compare_live(queue, live.get(queue.removeprefix("filter.")), time.time())

    def _compare(self, queue: str, row: dict[str, Any] | None, span: tuple[float, float]) -> None:
        asked, now = span
        read = now if row is None else row["sampled_at"]
        truth = self.accounts[queue].known(read - EMISSION_S - LAG_S, now)
        if row is None:
            explained = truth is None or truth.consumers is None or not self.broker_is_up
            self.seen["unknown" if explained else "silent"] += 1
            return
        shown = (row["unacked"], row["consumers"], row["ready"])
        if why := impossible(row):
            self.wrong.append(f"{queue}: {why} in {row}")
        if not 0 <= row["age_s"] <= self.server.stale_s or not within(read + row["age_s"], span):
            self.wrong.append(
                f"{queue}: read {asked - read:.1f} to {now - read:.1f} s ago, said {row['age_s']} s"
            )
        elif truth is None:
            self.seen["changing"] += 1
            # An emission after it had settled; a machine with nothing else to do shows it by then.
            recent = self.accounts[queue].known(read - EMISSION_S, now)
            self.late += recent is not None and shown != counts(recent)
            # Workers of the moment before may still be counted beside the new ones.
            if shown[0] > MOST_MESSAGES or shown[1] > 2 * MOST_WORKERS or shown[2] > MOST_MESSAGES:
                self.wrong.append(f"{queue}: {shown} was never true")
        elif truth.consumers is None:
            self.wrong.append(f"{queue}: {shown} served for a queue that is gone")
        else:
            self.seen["compared"] += 1
            served = (*shown, row["active_ratio"], row["active_ratio_raw"])
            wanted = (*counts(truth), *ratios(truth))
            if served != wanted:
                self.wrong.append(f"{queue} {KINDS[queue]}: {served}, true {wanted}")

    def _compare_live(self, queue: str, live: float | None, now: float) -> None:
        heals_s = LAG_S if now > self.healed_at else HEALS_S + LAG_S
        truth = self.accounts[queue].known(now - heals_s, now)
        if live is None:
            self.seen["live unknown"] += 1
        elif truth is None:
            self.seen["live changing"] += 1
        elif live == (truth.consumers or 0):
            self.seen["live compared"] += 1
        else:
            self.wrong.append(
                f"{queue} {KINDS[queue]}: {live:g} live consumers, true {truth.consumers}, "
                f"{now - self.healed_at:+.0f} s from the last loss"
            )


def within(moment: float, span: tuple[float, float]) -> bool:
    """Whether it lies there, but for the clock's own steps and the rounding."""
    return span[0] - 0.1 <= moment <= span[1] + 0.1


def counts(truth: Truth) -> tuple[int, int | None, int]:
    """Unacked, consumers, ready."""
    return truth.unacked, truth.consumers, truth.messages - truth.unacked


def ratios(truth: Truth) -> tuple[float, float]:
    """As documented: busy share of all slots, messages a worker; without workers 1 when there is work."""
    if truth.consumers:
        busy, workers = truth.unacked, truth.consumers
        return round(busy / (workers * SLOTS), 3), round(busy / workers, 3)
    work = 1.0 if truth.messages else 0.0
    return work, work


def impossible(row: dict[str, Any]) -> str:
    """Why no law can have said what `row` says, whatever the truth."""
    workers, load = row["desired_workers"], row["offered_load"]
    if not all(isinstance(each, int | float) and isfinite(each) and each >= 0 for each in (workers, load)):
        return "workers or load is no number"
    if workers < 1 and (row["unacked"] or row["ready"]):
        return "work for nobody"
    if workers < row["consumers"] and not row["settled"]:
        return "a scale-in on a guess"
    # Both are rounded to three decimals.
    return "fewer workers than busy slots" if workers * SLOTS < load - 0.003 else ""


@pytest.mark.parametrize(
    "restarts",
    [
        pytest.param(1, id="two minutes"),
        pytest.param(ceil(MINUTES / MINUTES_A_RESTART), id="soak", marks=pytest.mark.soak),
    ],
)
def test_no_wrong_value_is_served_through_churn_and_restarts(tmp_path, restarts):
    chance = random.Random(5)
    with ScratchBroker(tmp_path / "node", BASE_PORT, statistics_s=EMISSION_S) as node:
        drivers = [
            Driver(
                node.amqp_url,
                {
                    queue: kind
                    for number, (queue, kind) in enumerate(KINDS.items())
                    if number % DRIVERS == part
                },
                rate=CHANGES_PER_S,
                settle_s=1.0,
                seed=part,
            )
            for part in range(DRIVERS)
        ]
        (tmp_path / "credentials").write_text(f"admin:{node.admin_password}")
        server = Server(
            tmp_path,
            BASE_PORT + 10,
            node.prometheus_url,
            sample_s=1,
            stale_s=5,
            broker={
                "amqp": [f"amqp://127.0.0.1:{node.amqp_port}"],
                "events": True,
                "credentials_file": "credentials",
            },
        )
        server.use(*(queue.removeprefix("filter.") for queue in KINDS), slots=SLOTS)
        server.start()
        try:
            for driver in drivers:
                driver.start()
            for driver in drivers:
                driver.wait()
            compare = Comparison(server, drivers)
            watch(compare.poll, 20)
            before = server.resources()
            for _ in range(restarts):
                watch(compare.poll, chance.uniform(10, 20))
                lose_events(node, compare)
                watch(compare.poll, chance.uniform(20, 40))
                restart(node, drivers, compare, chance)
                watch(compare.poll, 30)
            after = server.resources()
        finally:
            for driver in drivers:
                driver.halt()
            assert server.stop() == 0
    print(
        dict(compare.seen),
        f"late {compare.late}, changes {sum(driver.changes for driver in drivers)}",
        before,
        after,
    )
    assert compare.wrong[:20] == []
    polled = sum(compare.seen.values())
    assert compare.seen["compared"] > polled / 4
    assert compare.seen["silent"] < polled / 50
    assert compare.late < polled / 50
    assert compare.seen["live compared"] > polled / 8
    assert after.descriptors <= before.descriptors + 5
    assert after.rss_mib < 1.1 * before.rss_mib + 5


def watch(poll: Callable[[], None], seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        poll()
        time.sleep(0.5)


def lose_events(node: ScratchBroker, compare: Comparison) -> None:
    """Take the server's queue off the event exchange for a while, behind its back."""
    drift = compare.server.samples("event_drift_total")[""]
    compare.healed_at = float("inf")
    node.control("eval", UNBIND)
    watch(compare.poll, 10)
    node.control("eval", BIND)
    compare.healed_at = time.time() + HEALS_S + LAG_S

    def noticed() -> bool:
        watch(compare.poll, 1)
        return compare.server.samples("event_drift_total")[""] > drift

    eventually(noticed, "the loss", HEALS_S)


def restart(node: ScratchBroker, drivers: list[Driver], compare: Comparison, chance: random.Random) -> None:
    """Stop or kill the node; each poll during that time is compared as well."""
    for driver in drivers:
        driver.interrupt()
    # RabbitMQ 3.10 loses the only member of a quorum queue that is killed as it is made.
    watch(compare.poll, 6)
    compare.broker_is_up = False
    chance.choice([node.stop, node.kill])()
    watch(compare.poll, 8)
    node.start()
    # What the broker has not read yet is unknown, and no queue is served as empty that is not.
    watch(compare.poll, 6)
    for driver in drivers:
        driver.resume()
    for driver in drivers:
        driver.wait()
    compare.poll()
    compare.broker_is_up = True
