"""Long jobs over the ends of their workers, with a real broker and real processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest

from lab.broker import ScratchBroker

pytestmark = pytest.mark.broker

ROOT = Path(__file__).parents[2]
# Counts to 20 in steps of a tenth of a second, and writes down each number that it counts.
BATCH = """
import sys, time, worker

def handle(job):
    at = int(job.resume() or b"0")
    with open(sys.argv[1], "a") as book:
        print("from", at, "attempt", job.delivery_count, file=book, flush=True)
        for number in range(at, 20):
            if job.wanted_back:
                raise worker.HandBack
            time.sleep(0.1)
            print(number, file=book, flush=True)
            job.checkpoint(b"%d" % (number + 1))

worker.run(handle)
"""


@pytest.fixture(scope="module")
def broker(tmp_path_factory) -> Iterator[ScratchBroker]:
    with ScratchBroker(tmp_path_factory.mktemp("broker"), 23_700) as node:
        node.declare(["recalled", "killed"])
        yield node


def start(
    broker: ScratchBroker, name: str, folder: Path, port: int, *, longest_s: int
) -> subprocess.Popen[bytes]:
    url = folder / "url"
    url.write_text(broker.amqp_url)
    environment = {
        "SURGE_FILTER": name,
        "SURGE_QUEUE": f"filter.{name}",
        "SURGE_AMQP_URL_FILE": str(url),
        "SURGE_SHARED": str(folder / "shared"),
        "SURGE_GRACE_S": "20",
        "SURGE_LONGEST_JOB_S": str(longest_s),
        "SURGE_PROBE_PORT": str(port),
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.Popen(
        [sys.executable, "-c", BATCH, folder / "book"],
        env={**os.environ, **environment},
        stderr=subprocess.DEVNULL,
    )


def publish(broker: ScratchBroker, name: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(broker.amqp_url)) as connection:
        connection.channel().basic_publish("filters", name, b"", pika.BasicProperties(message_id="one"))


def lines(book: Path) -> list[str]:
    return book.read_text().splitlines() if book.exists() else []


def wait_for(book: Path, line: str) -> None:
    end = time.monotonic() + 60
    while line not in lines(book):
        assert time.monotonic() < end, f"never written: {line}"
        time.sleep(0.02)


def test_a_job_that_is_recalled_goes_on_elsewhere_where_it_was(broker, tmp_path):
    publish(broker, "recalled")
    first = start(broker, "recalled", tmp_path, 23_710, longest_s=3600)
    wait_for(tmp_path / "book", "5")
    first.terminate()
    assert first.wait(15) == 0
    second = start(broker, "recalled", tmp_path, 23_711, longest_s=3600)
    wait_for(tmp_path / "book", "19")
    written = lines(tmp_path / "book")
    begun = [line for line in written if line.startswith("from")]
    # RabbitMQ before 4.3 counts a hand-back like a failure: once, and no more than a crash does.
    assert begun == ["from 0 attempt 0", f"from {begun[1].split()[1]} attempt 1"]
    assert [line for line in written if line not in begun] == [str(number) for number in range(20)]
    second.terminate()
    assert second.wait(15) == 0
    assert not list((tmp_path / "shared" / "recalled" / "checkpoints").iterdir())


def test_a_job_of_a_killed_worker_goes_on_from_its_last_checkpoint(broker, tmp_path):
    publish(broker, "killed")
    first = start(broker, "killed", tmp_path, 23_712, longest_s=5)
    wait_for(tmp_path / "book", "5")
    first.send_signal(signal.SIGKILL)
    first.wait(15)
    second = start(broker, "killed", tmp_path, 23_713, longest_s=5)
    wait_for(tmp_path / "book", "19")
    begun = [line for line in lines(tmp_path / "book") if line.startswith("from")]
    assert [line.split()[2:] for line in begun] == [["attempt", "0"], ["attempt", "1"]]
    assert int(begun[1].split()[1]) >= 5
    second.terminate()
    assert second.wait(15) == 0
