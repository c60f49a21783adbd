"""What the lab's fleet reads from a pod, reports of it, and writes down."""

import asyncio
import json
from dataclasses import replace
from statistics import fmean, pstdev
from typing import Any

import pytest
from prometheus_client import generate_latest

from lab.fleet.journal import Journal
from lab.fleet.kubelet import Kubelet, work_s
from lab.fleet.pod import Pod, completed, status
from worker import Job


def document(**status_fields: Any) -> dict[str, Any]:
    """A worker pod as the API server gives it."""
    facts = {"SURGE_QUEUE": "filter.ghibli", "SURGE_SLOTS": "2", "SURGE_PRIORITY": "10"}
    return {
        "metadata": {
            "uid": "1",
            "name": "ghibli-abc",
            "labels": {"surge.dev/filter": "ghibli"},
            "annotations": {
                "lab.surge.dev/service-s": "0.4",
                "lab.surge.dev/warmup-s": "8",
                "lab.surge.dev/longest-job-s": "4",
            },
        },
        "spec": {
            "nodeName": "gpu-0",
            "containers": [
                {
                    "name": "worker",
                    "image": "ghibli@sha256:00",
                    "env": [{"name": name, "value": value} for name, value in facts.items()],
                }
            ],
            "volumes": [{"name": "broker", "secret": {"secretName": "broker"}}],
        },
        "status": {"phase": "Pending", **status_fields},
    }


def job(identifier: str, at_us: object = 1_000_000) -> Job:
    return Job(b"", identifier, {"published-at-us": at_us}, redelivered=False, delivery_count=0)


@pytest.fixture
def pod() -> Pod:
    found = Pod.of(document())
    assert found is not None
    return found


def test_a_pod_tells_its_queue_its_times_and_its_secret(pod):
    assert (pod.filter, pod.queue, pod.slots, pod.priority) == ("ghibli", "filter.ghibli", 2, 10)
    assert (pod.service_s, pod.warmup_s, pod.longest_job_s) == (0.4, 8.0, 4.0)
    assert (pod.secret, pod.container, pod.ends_at, pod.ready) == ("broker", "worker", None, None)


def test_a_pod_of_a_set_tells_each_members_queue_and_time():
    pooled = document()
    [container] = pooled["spec"]["containers"]
    container["env"].append({"name": "SURGE_MEMBERS", "value": "wink=filter.wink,frame=filter.frame"})
    pooled["metadata"]["annotations"] |= {
        "service-s.lab.surge.dev/wink": "0.1",
        "service-s.lab.surge.dev/frame": "10",
    }
    pod = Pod.of(pooled)
    assert pod is not None
    assert pod.members == {"wink": "filter.wink", "frame": "filter.frame"}
    quick, slow = (
        fmean(work_s(pod, replace(job(str(number)), filter=name), 1) for number in range(500))
        for name in ("wink", "frame")
    )
    assert 20 * quick < slow


def test_a_pod_without_a_node_or_that_is_over_has_no_kubelet():
    unscheduled = document()
    del unscheduled["spec"]["nodeName"]
    assert Pod.of(unscheduled) is None
    assert Pod.of(document(phase="Failed")) is None


def test_a_pod_of_a_job_says_its_shift_and_ends_as_one_that_succeeded(pod):
    assert pod.shift_s is None
    shift = document()
    shift["spec"]["containers"][0]["env"].append({"name": "SURGE_SHIFT_S", "value": "72"})
    found = Pod.of(shift)
    assert found is not None
    assert found.shift_s == 72
    told = completed(found, started_at="2026-11-24T10:00:00Z")["status"]
    assert told["phase"] == "Succeeded"
    assert told["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    assert {item["status"] for item in told["conditions"]} == {"False"}


def test_a_pod_that_lacks_an_annotation_is_refused_by_its_name():
    lacking = document()
    del lacking["metadata"]["annotations"]["lab.surge.dev/warmup-s"]
    with pytest.raises(KeyError, match="warmup-s"):
        Pod.of(lacking)


def test_the_end_of_a_pods_grace_is_its_deletion_timestamp():
    deleted = document()
    deleted["metadata"]["deletionTimestamp"] = "1970-01-01T00:02:00Z"
    found = Pod.of(deleted)
    assert found is not None
    assert found.ends_at == 120


@pytest.mark.parametrize("ready", [True, False])
def test_a_reported_status_is_read_back_as_reported(pod, ready):
    reported = status(pod, ready=ready, address="10.244.0.1", started_at="1970-01-01T00:00:00Z")
    again = Pod.of(document(**reported["status"]))
    assert again is not None
    assert again.ready is ready


def test_work_takes_its_mean_time_with_the_spread_of_image_models(pod):
    unbounded = replace(pod, longest_job_s=1e9)
    times = [work_s(unbounded, job(str(number)), seed=1) for number in range(20_000)]
    assert fmean(times) == pytest.approx(0.4, rel=0.03)
    assert pstdev(times) / fmean(times) == pytest.approx(0.72, rel=0.06)


def test_a_message_takes_the_same_time_with_every_worker_of_the_same_seed(pod):
    assert work_s(pod, job("m"), 1) == work_s(replace(pod, name="another"), job("m"), 1)
    assert work_s(pod, job("m"), 1) != work_s(pod, job("m"), 2)


def test_no_work_is_longer_than_the_longest_job(pod):
    assert max(work_s(replace(pod, longest_job_s=0.5), job(str(n)), 1) for n in range(1000)) == 0.5


def test_the_journal_is_one_json_line_per_event_at_once(tmp_path):
    with Journal(tmp_path / "fleet" / "events.ndjson") as journal:
        journal.worker("ready", "ghibli", "w", state="ready")
        journal.started("ghibli", "w", job("m"))
        journal.abandoned("ghibli", "w", job("m"), "scale_in")
        lines = (tmp_path / "fleet" / "events.ndjson").read_text().splitlines()
    read = [json.loads(line) for line in lines]
    assert [event["event"] for event in read] == ["ready", "started", "abandoned"]
    assert read[1]["message_id"] == "m"
    assert read[1]["published_at"] == 1.0
    assert read[2]["reason"] == "scale_in"


def test_a_second_journal_goes_on_after_the_first(tmp_path):
    for name in ("one", "two"):
        with Journal(tmp_path / "events.ndjson") as journal:
            journal.worker("warming", "ghibli", name, state="warming")
    assert len((tmp_path / "events.ndjson").read_text().splitlines()) == 2


def test_metrics_count_workers_by_state_work_in_hand_and_jobs_done(tmp_path):
    with Journal(tmp_path / "events.ndjson") as journal:
        journal.worker("ready", "ghibli", "a", state="ready")
        journal.worker("warming", "ghibli", "b", state="warming")
        journal.worker("ready", "ghibli", "c", state="ready")
        journal.worker("drained", "ghibli", "c", state=None)
        for number in ("1", "2"):
            journal.started("ghibli", "a", job(number))
        journal.finished("ghibli", "a", job("1"))
        journal.idle("ghibli")
        text = generate_latest(journal.registry).decode()
    assert 'surge_lab_workers{filter="ghibli",state="ready"} 1.0' in text
    assert 'surge_lab_workers{filter="ghibli",state="warming"} 1.0' in text
    assert 'surge_lab_workers{filter="ghibli",state="draining"} 0.0' in text
    assert 'surge_lab_busy{filter="ghibli"} 1.0' in text
    assert 'surge_lab_jobs_finished_total{filter="ghibli"} 1.0' in text
    assert 'surge_lab_wait_seconds_count{filter="ghibli"} 2.0' in text


def test_a_message_of_a_foreign_publisher_has_no_wait(tmp_path):
    with Journal(tmp_path / "events.ndjson") as journal:
        journal.started("ghibli", "a", job("1", at_us="yesterday"))
        assert b'surge_lab_wait_seconds_count{filter="ghibli"}' not in generate_latest(journal.registry)


class Told:
    """An API server that only listens."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.removed = False
        self.succeeded = asyncio.Event()

    async def secret(self, _name: str, _key: str) -> str:
        return "amqp://broker"

    async def report(self, _pod: str, patch: dict[str, Any]) -> None:
        self.phases.append(patch["status"]["phase"])
        if self.phases[-1] == "Succeeded":
            self.succeeded.set()

    async def remove(self, _pod: str, _uid: str) -> None:
        self.removed = True


class EndsByItself:
    """A worker whose shift is over at once."""

    def __init__(self, *_arguments: object, **_callbacks: object) -> None:
        pass

    async def run(self) -> None:
        await asyncio.sleep(0)


def test_a_pod_whose_worker_ended_by_itself_has_succeeded_and_stays_until_somebody_removes_it(
    pod, tmp_path, monkeypatch
):
    monkeypatch.setattr("lab.fleet.kubelet.Worker", EndsByItself)
    told = Told()

    async def life() -> None:
        with Journal(tmp_path / "events") as journal:
            kubelet = Kubelet(replace(pod, shift_s=1.0), "10.0.0.1", told, journal, 0)
            running = asyncio.create_task(kubelet.run())
            async with asyncio.timeout(10):
                await told.succeeded.wait()
            assert not running.done()
            kubelet.vanish()
            await running

    asyncio.run(life())
    assert told.phases[-1] == "Succeeded"
    assert not told.removed
    assert [json.loads(line)["event"] for line in (tmp_path / "events").read_text().splitlines()] == [
        "warming",
        "completed",
    ]
