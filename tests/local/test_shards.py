"""A fleet in shards on the real cluster: what runs, what fails alone, and moves under running workers.

Tests run in the order of the file.
"""

import getpass
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config

from lab.checkout import Checkout, kill_with_all_it_started, scratch_checkout
from surge.policy.shards import home_stack, shard_of, shard_stack
from surge.stack_outputs import running_stack

pytestmark = [pytest.mark.local, pytest.mark.stack, pytest.mark.timeout(900)]

BASE_PORT = 28_000
# As few as have a neighbour: each is an engine with its program and plugins.
SHARDS, MORE = 2, 4
# Some for each shard, before and after a doubling.
NAMES = ("anime", "avatar", "clay", "ghibli", "sketch", "sticker")
ENTRY = {
    "image": f"registry.example/filters/any@sha256:{'0' * 64}",
    "service-s": 3,
    "longest-job-s": 30,
    "slo-s": 60,
    "min": 1,
    "max": 4,
    "owner": "tests",
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Iterator[Checkout]:
    with scratch_checkout(
        tmp_path_factory.mktemp("shards"), base_port=BASE_PORT, settings={"fleet": {"shards": "auto"}}
    ) as made:
        write(made, dict.fromkeys(NAMES, ENTRY))
        made.surge("up", "local")
        yield made


def write(checkout: Checkout, filters: dict[str, Any]) -> None:
    (checkout.root / "filters.yaml").write_text(json.dumps({"filters": filters}))


def fleet_up(checkout: Checkout, *options: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """The summary of `surge fleet up`, by stack."""
    done = checkout.surge("fleet", "up", "local", "--json", *options, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return {run["stack"]: run for run in json.loads(done.stdout)["runs"]}


def changed(run: dict[str, Any]) -> dict[str, int]:
    """What became of a stack's resources; a shard without filters makes its provider and no more."""
    return {
        key: count
        for key, count in run["changes"].items()
        if key not in {"same", "read"} and (run["filters"] or run["stack"] == "local")
    }


def identities(checkout: Checkout) -> dict[tuple[str, str], str]:
    """UIDs of all that serves the filters: Deployments, their pods, ScaledObjects, HPAs."""
    kubeconfig = json.loads(running_stack(checkout.root).kubeconfig)
    api = config.new_client_from_config_dict(kubeconfig)
    objects = client.CustomObjectsApi(api).list_namespaced_custom_object(
        "keda.sh", "v1alpha1", "filters", "scaledobjects"
    )
    found = {("ScaledObject", it["metadata"]["name"]): it["metadata"]["uid"] for it in objects["items"]}
    for kind, listed in {
        "Deployment": client.AppsV1Api(api).list_namespaced_deployment("filters"),
        "Pod": client.CoreV1Api(api).list_namespaced_pod("filters"),
        "HPA": client.AutoscalingV2Api(api).list_namespaced_horizontal_pod_autoscaler("filters"),
    }.items():
        found |= {(kind, it.metadata.name): it.metadata.uid for it in listed.items}
    return found


def state(checkout: Checkout, stack: str) -> Any:
    return checkout.root / ".surge" / "state" / ".pulumi" / "stacks" / "surge" / f"{stack}.json"


def test_from_one_stack_into_shards_under_running_workers(checkout):
    before = identities(checkout)
    assert len(before) == 4 * len(NAMES)
    checkout.surge("fleet", "reshard", "local", "--shards", str(SHARDS))
    assert checkout.surge("up", "local", check=False).returncode == 1
    runs = fleet_up(checkout)
    assert identities(checkout) == before
    assert [run["result"] for run in runs.values()] == ["done"] * (1 + SHARDS)
    for stack, run in runs.items():
        assert not changed(run).keys() & {"create", "delete", "replace"}, f"{stack}: {run['changes']}"


def test_a_second_up_runs_no_shard_and_a_changed_entry_its_own_alone(checkout):
    before = identities(checkout)
    assert {run["result"] for run in list(fleet_up(checkout).values())[1:]} == {"current"}
    write(checkout, {**dict.fromkeys(NAMES, ENTRY), "ghibli": {**ENTRY, "max": 5}})
    ran = {stack: run for stack, run in fleet_up(checkout).items() if run["result"] != "current"}
    assert set(ran) - {"local"} == {home_stack("local", "ghibli", SHARDS)}
    assert changed(ran[home_stack("local", "ghibli", SHARDS)]) == {"update": 2}
    assert identities(checkout) == before


def test_an_entry_comes_and_goes_and_its_neighbours_stay(checkout):
    home = home_stack("local", "visitor", SHARDS)
    write(checkout, dict.fromkeys(NAMES, ENTRY))
    fleet_up(checkout)
    before = identities(checkout)
    for names, what in (([*NAMES, "visitor"], "create"), (NAMES, "delete")):
        write(checkout, dict.fromkeys(names, ENTRY))
        runs = fleet_up(checkout)
        assert changed(runs[home]) == {what: 3}
        left = {key: uid for key, uid in identities(checkout).items() if "visitor" not in key[1]}
        assert left == before
        assert checkout.surge("fleet", "status", "local", check=False).returncode == 0


def deployments(checkout: Checkout) -> client.AppsV1Api:
    kubeconfig = json.loads(running_stack(checkout.root).kubeconfig)
    return client.AppsV1Api(config.new_client_from_config_dict(kubeconfig))


def test_all_puts_back_what_somebody_deleted_by_hand(checkout):
    deployments(checkout).delete_namespaced_deployment("clay", "filters")
    assert {run["result"] for run in fleet_up(checkout).values()} == {"current"}
    runs = fleet_up(checkout, "--all")
    assert {run["result"] for run in runs.values()} == {"done"}
    assert ("Deployment", "clay") in identities(checkout)


def test_after_a_killed_update_its_shard_is_compared_with_the_cluster(checkout):
    """As if an update had been killed that deleted clay, and clay's entry had been put back since."""
    stack = home_stack("local", "clay", SHARDS)
    locks = checkout.root / ".surge" / "state" / ".pulumi" / "locks" / "organization" / "surge" / stack
    locks.mkdir(parents=True, exist_ok=True)
    gone = subprocess.Popen(["true"])
    gone.wait()
    lock = {"pid": gone.pid, "username": getpass.getuser(), "hostname": socket.gethostname()}
    (locks / "killed.json").write_text(json.dumps(lock))
    deployments(checkout).delete_namespaced_deployment("clay", "filters")
    ran = {name for name, run in fleet_up(checkout).items() if run["result"] != "current"}
    assert ran == {stack}
    assert not list(locks.iterdir())
    assert ("Deployment", "clay") in identities(checkout)


def test_what_fails_stops_no_other_service_or_shard_and_the_next_up_does_what_is_left(checkout):
    here = shard_of("watercolour", SHARDS)
    other = next(name for name in ("oil", "ink", "chalk", "pencil") if shard_of(name, SHARDS) != here)
    beside = next(name for name in map("beside-{}".format, range(99)) if shard_of(name, SHARDS) == here)
    apps = deployments(checkout)
    labels = {"of": "somebody-else"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    in_the_way: Any = {
        "metadata": {"name": "watercolour"},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }
    apps.create_namespaced_deployment("filters", in_the_way)
    write(checkout, dict.fromkeys([*NAMES, "watercolour", beside, other], ENTRY))
    runs = fleet_up(checkout, code=1)
    assert runs[home_stack("local", "watercolour", SHARDS)]["result"] == "failed"
    assert "selector" in " ".join(runs[home_stack("local", "watercolour", SHARDS)]["problems"])
    assert runs[home_stack("local", other, SHARDS)]["result"] == "done"
    assert {("Deployment", beside), ("ScaledObject", beside)} <= identities(checkout).keys()
    apps.delete_namespaced_deployment("watercolour", "filters")
    left = {stack for stack, run in fleet_up(checkout).items() if run["result"] == "done"}
    assert left - {"local"} == {home_stack("local", "watercolour", SHARDS)}


def test_an_interrupt_ends_all_shards_and_names_the_command_that_goes_on(checkout):
    added = [f"more-{number}" for number in range(4)]
    write(checkout, dict.fromkeys([*NAMES, *added], ENTRY))
    first = checkout.spawn("fleet", "up", "local")
    assert first.stdout is not None
    seen = next(line for line in first.stdout if "local-shard-" in line)
    first.send_signal(signal.SIGINT)
    rest, _ = first.communicate(timeout=180)
    assert first.returncode == 130, seen + rest
    assert "Go on where it stopped: surge fleet up local" in rest
    fleet_up(checkout)
    assert {("Deployment", name) for name in added} <= identities(checkout).keys()


def test_a_move_that_is_killed_goes_on_and_the_workers_never_notice(checkout):
    before = identities(checkout)
    first = checkout.spawn("fleet", "reshard", "local", "--shards", str(MORE))
    while first.poll() is None and not state(checkout, shard_stack("local", SHARDS)).exists():
        time.sleep(0.05)
    assert first.poll() is None, "it ended before it could be killed between two moves"
    kill_with_all_it_started(first)
    refused = checkout.surge("fleet", "up", "local", check=False)
    assert refused.returncode == 1
    assert f"surge fleet reshard local --shards {MORE}" in refused.stderr
    checkout.surge("fleet", "reshard", "local", "--shards", str(MORE))
    for run in fleet_up(checkout).values():
        assert not changed(run).keys() & {"create", "delete", "replace"}
    assert identities(checkout) == before


def test_and_back_into_one_stack(checkout):
    before = identities(checkout)
    checkout.surge("fleet", "reshard", "local", "--shards", "1")
    assert not list(state(checkout, "local").parent.glob("local-shard-*.json"))
    checkout.surge("up", "local")
    assert identities(checkout) == before
    checkout.surge("preview", "local", "--expect-no-changes")


def test_down_takes_the_shards_with_it(checkout):
    checkout.surge("fleet", "reshard", "local", "--shards", "2")
    checkout.surge("down", "local", "--yes")
    assert not (checkout.root / ".surge").exists()
