"""`surge worker check` against workers that keep the contract, and against each way to break it."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.broker import ScratchBroker
from surge.contract import CLAUSES, Options, Subject, Verdict, check

pytestmark = pytest.mark.broker

ROOT = Path(__file__).parents[2]
PLAIN = str(Path(__file__).with_name("plain_worker.py"))
JOB_S = 0.6
# A worker that is gone within a second need not be un-Ready before.
LONGER_S = {"stays-ready": 4.0}


@pytest.fixture(scope="module")
def broker(tmp_path_factory) -> Iterator[ScratchBroker]:
    with ScratchBroker(tmp_path_factory.mktemp("broker"), 23_660) as node:
        yield node


def options(broker: ScratchBroker, job_s: float = JOB_S) -> Options:
    return Options(url=broker.amqp_url, job_s=job_s, ready_s=20, grace_s=6)


def plain(fault: str) -> Subject:
    return Subject([sys.executable, PLAIN, fault, str(LONGER_S.get(fault, JOB_S))])


@pytest.mark.parametrize(
    "subject",
    [Subject([sys.executable, "-m", "worker.example", "--job-s", str(JOB_S)]), plain("none")],
    ids=["our example", "plain pika"],
)
def test_a_worker_that_keeps_the_contract_keeps_all_ten_clauses(broker, subject, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = asyncio.run(check(subject, options(broker)))
    assert [(one.clause, one.state) for one in found] == [(clause.number, "kept") for clause in CLAUSES], (
        found
    )


FAULTS = {
    "other-queue": (1, "404 NOT_FOUND"),
    "no-priority": (1, "x-priority None"),
    "lazy": (2, "the first job took [4-9]"),
    "early-ready": (3, "before consume-ok"),
    "no-prefetch": (4, "it held 8 messages, with SURGE_SLOTS=2 and prefetch not set"),
    "greedy": (4, r"prefetch \[20\]"),
    "auto-ack": (5, "no-ack"),
    "early-ack": (5, "acks came 0.0"),
    "twice": (5, r"tag \d, which it did not hold"),
    "swallows": (6, "it acked a message"),
    "dies-of-poison": (6, "the poison took the worker with it: it ended with 3"),
    "nacks": (6, "basic.nack"),
    "gives-up": (7, "did not come back after a cut: it ended with 1"),
    "always-ready": (7, "still said 200"),
    "only-cuts": (7, "did not come back after the broker closed it: it ended with 1"),
    "old-tag": (8, "of the lost connection"),
    "stays-ready": (9, "still said 200"),
    "hungry": (9, "it had not cancelled"),
    "deaf": (10, "unfinished; it was killed by SIGTERM"),
    "gives-back": (10, r"left \d of \d jobs unfinished"),
    "lingers": (10, "still runs"),
    "exits-1": (10, "it ended with 1"),
}


@pytest.fixture(scope="module")
def found(broker) -> dict[str, list[Verdict]]:
    """What the check says of each faulty worker; a few at a time, as each waits more than it works."""

    async def all_of_them() -> dict[str, list[Verdict]]:
        places = asyncio.Semaphore(4)

        async def one(fault: str, clause: int) -> list[Verdict]:
            async with places:
                return await check(plain(fault), options(broker, LONGER_S.get(fault, JOB_S)), [clause])

        verdicts = await asyncio.gather(*(one(fault, clause) for fault, (clause, _) in FAULTS.items()))
        return dict(zip(FAULTS, verdicts, strict=True))

    return asyncio.run(all_of_them())


@pytest.mark.parametrize("fault", FAULTS)
def test_each_way_to_break_the_contract_is_found_with_its_own_clause(found, fault):
    clause, seen = FAULTS[fault]
    [verdict] = found[fault]
    assert (verdict.clause, verdict.state) == (clause, "broken"), verdict
    assert re.search(seen, verdict.seen), verdict.seen


def test_the_command_checks_a_shell_start_of_a_worker_and_exits_with_1_when_a_clause_is_broken(
    broker, tmp_path
):
    url = tmp_path / "url"
    url.write_text(broker.amqp_url)
    # The shell keeps SIGTERM to itself: the usual way to break a drain that works.
    wrapped = f"{sys.executable} -m worker.example --job-s {JOB_S}; true"
    options = ["--amqp-url-file", str(url), "--job-s", str(JOB_S), "--clause", "10", "--json"]
    done = subprocess.run(
        [ROOT / "bin" / "surge", "worker", "check", *options, "--", "sh", "-c", wrapped],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    [clause] = json.loads(done.stdout)["clauses"]
    assert clause["state"] == "broken"
    assert clause["seen"].startswith("it left 2 of 2 jobs unfinished; it was killed by SIGTERM")
