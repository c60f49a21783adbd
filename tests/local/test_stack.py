"""The whole loop, real, as a user runs it: up, load, faults, down. Tests run in the order of the file."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from kubernetes import client, config

from lab.checkout import Checkout, scratch_checkout
from lab.load import Account, Load, events
from providers.surge.orphans import marked
from providers.surge.supervisor import Supervisor
from surge.cli import host_processes
from surge.cli.abandoned import abandoned
from surge.cli.stacks import cluster_directory
from surge.policy.gpu.protocol import ALLOCATED, Grant, grants_of
from surge.stack_outputs import RunningStack, running_stack

pytestmark = [pytest.mark.local, pytest.mark.stack, pytest.mark.quiet, pytest.mark.timeout(900)]

BASE_PORT = 24_000
ENTRY = f"""
  watercolour:
    image: registry.example/filters/watercolour@sha256:{"0" * 64}
    service-s: 6
    min: 1
    max: 8
"""
RATE = 8.0  # some nine busy workers of the ten that `ghibli` starts with


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Iterator[Checkout]:
    with scratch_checkout(tmp_path_factory.mktemp("stack"), base_port=BASE_PORT) as made:
        made.surge("up", "local")
        yield made


@pytest.fixture(scope="module")
def stack(checkout) -> RunningStack:
    return running_stack(checkout.root)


def eventually(check: Callable[[], Any], what: str, patience_s: float = 90) -> Any:
    end, seen = time.monotonic() + patience_s, None
    while time.monotonic() < end:
        if seen := check():
            return seen
        time.sleep(0.5)
    raise AssertionError(f"never seen within {patience_s:g} s: {what}")


def state_of(checkout: Checkout, name: str) -> dict[str, Any]:
    return checkout.status()["filters"][name]


def healthy(checkout: Checkout) -> bool:
    return checkout.surge("status", check=False).returncode == 0


def cards_of(pod: client.V1Pod) -> list[tuple[Grant, ...]]:
    """What each container holds, as HAMi says."""
    return grants_of(pod.metadata.annotations[ALLOCATED])


def accounted(stack: RunningStack, published: set[str]) -> Account:
    """The account of `published` once the last of them is finished."""

    def all_finished() -> Account | None:
        account = Account.of(published, events(Path(stack.directory)))
        return None if account.lost else account

    return eventually(all_finished, "every published message finished", 180)


def kill(checkout: Checkout, process: str) -> int:
    """kill -9 one process of the cluster; returns its pid."""
    seen = Supervisor(str(checkout.cluster)).see(process)
    assert seen is not None
    # The supervisor's child is the program itself, or a shell that waits for it.
    os.killpg(os.getpgid(seen.pid), signal.SIGKILL)
    return seen.pid


def test_up_ends_with_a_closed_loop(checkout):
    assert healthy(checkout)
    filters = checkout.status()["filters"]
    assert filters["ghibli"]["ready"] == 10
    assert filters["video-restyle"]["ready"] == 0


def test_a_second_up_has_nothing_to_do(checkout):
    checkout.surge("preview", "local", "--expect-no-changes")
    said = checkout.surge("up", "local").stderr
    assert "nothing to do, " in said
    assert "created" not in said


def test_a_part_of_a_card_and_a_pair_run_where_nothing_else_may(checkout, stack):
    core = client.CoreV1Api(config.new_client_from_config_dict(json.loads(stack.kubeconfig)))
    pods = core.list_namespaced_pod("filters").items
    homes: dict[str, set[str]] = {}
    for pod in pods:
        homes.setdefault(pod.spec.node_name.rpartition("-")[0], set()).add(
            pod.metadata.labels["surge.dev/filter"]
        )
    assert (homes.pop("pairs"), homes.pop("shared")) == ({"avatar"}, {"sticker"})
    assert set(homes) == {"gpu"}
    [avatar], [sticker] = (
        [pod for pod in pods if pod.metadata.labels["surge.dev/filter"] == name]
        for name in ("avatar", "sticker")
    )
    assert [each.name for each in avatar.spec.containers] == ["worker", "trainer"]
    worker, trainer = (grants[0] for grants in cards_of(avatar))
    assert (worker.card, worker.memory_mib, trainer.memory_mib) == (trainer.card, 16_000, 20_000)
    assert [len(grants) for grants in cards_of(sticker)] == [1]


def test_a_pair_on_two_cards_is_an_alert_until_it_is_none(stack):
    core = client.CoreV1Api(config.new_client_from_config_dict(json.loads(stack.kubeconfig)))
    [avatar] = core.list_namespaced_pod("filters", label_selector="surge.dev/filter=avatar").items
    right = avatar.metadata.annotations[ALLOCATED]

    def say(cards: str) -> None:
        core.patch_namespaced_pod(
            avatar.metadata.name, "filters", {"metadata": {"annotations": {ALLOCATED: cards}}}
        )

    def told() -> list[tuple[str, float]]:
        with urlopen(f"{stack.endpoints['prometheus']}/api/v1/alerts", timeout=5) as answer:
            alerts = json.load(answer)["data"]["alerts"]
        return [
            (alert["labels"]["filter"], float(alert["value"]))
            for alert in alerts
            if alert["labels"]["alertname"] == "PairOnTwoCards"
        ]

    assert told() == []
    say(right.replace(cards_of(avatar)[0][0].card, "GPU-pairs-0-7", 1))
    eventually(lambda: told() == [("avatar", 1)], "the alert")
    say(right)
    eventually(lambda: told() == [], "the end of the alert")


def test_prometheus_evaluates_every_alert_and_nothing_is_wrong(stack):
    def rules() -> list[dict[str, Any]]:
        with urlopen(f"{stack.endpoints['prometheus']}/api/v1/rules", timeout=5) as answer:
            return [rule for group in json.load(answer)["data"]["groups"] for rule in group["rules"]]

    eventually(lambda: {rule["health"] for rule in rules()} == {"ok"}, "every rule evaluated")
    assert [rule["name"] for rule in rules() if rule["state"] == "firing"] == []


def test_a_filter_at_zero_wakes_for_one_message_and_goes_back_to_sleep(checkout, stack):
    with Load(stack.access["publisher_url"], "beard", 1) as load:
        eventually(lambda: load.published, "a message published")
    account = accounted(stack, load.published)
    assert set(account.finished.values()) == {1}
    # KEDA's cooldown: 600 s of the model are 80 s here.
    eventually(lambda: state_of(checkout, "beard")["ready"] == 0, "no worker any more", 240)


def test_a_spike_on_one_pooled_filter_makes_workers_of_its_set_and_the_other_waits_for_nobody(
    checkout, stack
):
    quiet = Load(stack.access["publisher_url"], "freckles", 0.5)
    with Load(stack.access["publisher_url"], "sparkle", 10.0) as spike, quiet as other:
        eventually(lambda: state_of(checkout, "trinkets")["ready"] > 4, "more workers of the set")
    published = spike.published | other.published
    account = accounted(stack, published)
    assert set(account.finished.values()) == {1}
    assert account.scale_in_victims == set()
    seen = [each for each in events(Path(stack.directory)) if each.get("message_id") in published]
    assert {each["redelivered"] for each in seen} == {False}
    finished = {each["filter"]: each["worker"] for each in seen if each["event"] == "finished"}
    assert set(finished) == {"freckles", "sparkle"}
    assert all(worker.startswith("trinkets-") for worker in finished.values())
    assert state_of(checkout, "sparkle")["signal"] == "set trinkets"


def test_work_that_outlasts_a_drain_is_done_by_jobs_that_end(checkout, stack):
    assert state_of(checkout, "film-reels")["hpa"] == "at rest"
    with Load(stack.access["publisher_url"], "film-reels", 2) as load:
        eventually(lambda: len(load.published) >= 4, "four reels published")
    account = accounted(stack, load.published)
    assert set(account.finished.values()) == {1}
    batch = client.BatchV1Api(config.new_client_from_config_dict(json.loads(stack.kubeconfig)))

    def made() -> list[Any]:
        return [job.status for job in batch.list_namespaced_job("filters").items]

    eventually(lambda: all(status.succeeded for status in made()), "every Job succeeded", 240)
    assert made()
    assert not any(status.failed for status in made())
    assert healthy(checkout)


def test_a_filter_is_released_by_one_entry_and_nothing_that_runs_is_restarted(checkout):
    before = checkout.status()["processes"]
    catalogue = checkout.root / "filters.yaml"
    catalogue.write_text(catalogue.read_text() + ENTRY)
    checkout.surge("up", "local")
    after = checkout.status()
    assert after["filters"]["watercolour"]["ready"] == 1
    assert {name: item["pid"] for name, item in after["processes"].items()} == {
        name: item["pid"] for name, item in before.items()
    }


@pytest.mark.parametrize("kind", ["aws", "onprem"])
def test_a_stack_that_is_not_available_yet_is_refused_and_leaves_nothing(checkout, kind):
    refused = checkout.surge("up", kind, check=False)
    assert refused.returncode == 1
    assert f"a stack of kind {kind} is not available yet" in refused.stdout + refused.stderr
    assert not list((checkout.root / ".surge" / "state").rglob(f"{kind}.json"))


@pytest.mark.parametrize("process", ["rabbitmq", "keda-operator", "kube-apiserver", "etcd", "fleet"])
def test_a_process_killed_under_load_comes_back_and_loses_no_message(checkout, stack, process):
    with Load(stack.access["publisher_url"], "ghibli", RATE) as load:
        time.sleep(5)
        killed = kill(checkout, process)
        eventually(
            lambda: (seen := Supervisor(str(checkout.cluster)).see(process)) and seen.pid not in {0, killed},
            f"{process} started again",
        )
        eventually(lambda: healthy(checkout), "the loop closed again", 120)
        time.sleep(5)
    account = accounted(stack, load.published)
    assert not account.scale_in_victims


def test_without_the_metric_server_for_a_minute_nothing_scales_in(checkout, stack):
    supervisor = Supervisor(str(checkout.cluster))
    with Load(stack.access["publisher_url"], "ghibli", RATE) as load:
        eventually(lambda: state_of(checkout, "ghibli")["desired"] > 10, "more workers than the minimum")
        supervisor.halt("saturation")
        try:
            # What was decided on the last answer, such as the end of an earlier scale-in, is done by then.
            time.sleep(2 * stack.hpa_sync_s / stack.time_factor)
            before = least = state_of(checkout, "ghibli")["desired"]
            assert before > 10
            end = time.monotonic() + 60
            while time.monotonic() < end:
                least = min(least, state_of(checkout, "ghibli")["desired"])
                time.sleep(2)
        finally:
            supervisor.resume("saturation")
        assert least >= before
        eventually(lambda: healthy(checkout), "the loop closed again")
    accounted(stack, load.published)


def test_a_spike_loses_nothing_and_demand_has_its_workers_before_ratio_has(checkout):
    checkout.module("lab.spike", "--shape", "lab/shapes/smoke.yaml")
    report = json.loads((checkout.root / "build" / "spike" / "report.json").read_text())
    total, demand, ratio = report["total"], report["filters"]["ghibli"], report["filters"]["ghibli-ratio"]
    assert total["published"] > 1000
    assert (total["finished"], total["lost"]) == (total["published"], 0)
    assert (total["finished_twice"], total["redelivered_by_scale_in"]) == (0, 0)
    assert demand["published"] == ratio["published"]
    assert demand["time_to_capacity_s"] < ratio["time_to_capacity_s"]
    assert demand["late_share"] < ratio["late_share"]
    assert report["back_at_minimum"] == {"ghibli": True, "ghibli-ratio": True}
    assert (checkout.root / "build" / "spike" / "spike.png").stat().st_size > 10_000


def test_refresh_finds_what_died_with_its_supervisor_and_up_revives_it(checkout):
    for pid in marked("SURGE_SUPERVISOR", str(checkout.cluster)):
        os.kill(pid, signal.SIGKILL)
    kill_marked(checkout, "prometheus")
    assert checkout.surge("refresh", "local", "--expect-no-changes", check=False).returncode == 1
    checkout.surge("up", "local")
    assert healthy(checkout)


def test_up_alone_revives_a_stack_of_which_no_process_is_left(checkout):
    for process in host_processes.marked(checkout.cluster):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    eventually(lambda: not host_processes.marked(checkout.cluster), "no process any more")
    said = checkout.surge("up", "local").stderr
    assert "dead: " in said
    assert "kube-apiserver" in said
    assert healthy(checkout)


def test_two_clusters_run_side_by_side(checkout, tmp_path):
    with scratch_checkout(
        tmp_path, base_port=BASE_PORT + 100, settings={"cluster": {"name": "two"}}
    ) as other:
        other.surge("up", "local")
        assert healthy(other)
        assert healthy(checkout)
    assert healthy(checkout)


def test_down_leaves_nothing_even_after_the_supervisor_was_killed(checkout):
    cluster, processes = checkout.cluster, list(checkout.status()["processes"])
    assert "etcd" in processes
    for pid in marked("SURGE_SUPERVISOR", str(cluster)):
        os.kill(pid, signal.SIGKILL)
    checkout.surge("down", "local", "--yes")
    assert not (checkout.root / ".surge").exists()
    assert not [name for name in processes if marked("SURGE_PROCESS", f"{cluster}:{name}")]


def test_an_up_that_was_interrupted_is_finished_by_the_next(tmp_path):
    with scratch_checkout(tmp_path, base_port=BASE_PORT + 200) as made:
        first = made.spawn("up", "local")
        time.sleep(8)
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=180)
        assert first.returncode == 130
        made.surge("up", "local")
        assert healthy(made)


def test_down_cleans_up_after_an_up_of_which_only_the_command_was_killed(tmp_path):
    with scratch_checkout(tmp_path, base_port=BASE_PORT + 200) as made:
        first = made.spawn("up", "local")
        time.sleep(8)
        first.kill()
        first.communicate(timeout=60)
        made.surge("down", "local", "--yes")
        assert not (made.root / ".surge").exists()
        assert host_processes.marked(cluster_directory(made.root, "local")) == []
        assert abandoned(made.root, "local") == []


def kill_marked(checkout: Checkout, process: str) -> None:
    for pid in marked("SURGE_PROCESS", f"{checkout.cluster}:{process}"):
        os.kill(pid, signal.SIGKILL)
