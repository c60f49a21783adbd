"""Re-sharding as the engine records it, without a cluster: services without objects, moved and killed."""

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from lab.checkout import Checkout, copied_checkout, kill_with_all_it_started
from surge.cli.held import SERVICE, held_by
from surge.cli.stacks import state_file
from surge.engine import create_stack, engine_environment, pulumi_command
from surge.policy.shards import home_stack

pytestmark = [pytest.mark.local, pytest.mark.stack, pytest.mark.timeout(600)]

NAMES = [f"filter-{number}" for number in range(24)]


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    """A fleet of 24 filters in one stack, as recorded; nothing of it runs."""
    made = copied_checkout(tmp_path, base_port=28_100)
    environment = engine_environment(tmp_path, environment=made.environment)
    create_stack(tmp_path, "local", environment)
    (tmp_path / "state.json").write_text(json.dumps({"version": 3, "deployment": deployment()}))
    subprocess.run(
        [pulumi_command(environment), "stack", "import", "--stack", "local", "--file", "state.json"],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
    )
    return made


def deployment() -> dict[str, Any]:
    def resource(kind: str, name: str, **more: Any) -> dict[str, Any]:
        return {"urn": f"urn:pulumi:local::surge::{kind}::{name}", "type": kind, "custom": False, **more}

    stack = resource("pulumi:pulumi:Stack", "surge-local", outputs={"fleet": {"shards": 1}})
    return {"resources": [stack, *(resource(SERVICE, name, parent=stack["urn"]) for name in NAMES)]}


def reshard(checkout: Checkout, shards: int) -> str:
    return checkout.surge("fleet", "reshard", "local", "--shards", str(shards)).stderr


def homes(checkout: Checkout) -> dict[str, list[str]]:
    """Filter -> every stack that has it on record."""
    found: dict[str, list[str]] = {name: [] for name in NAMES}
    for path in state_file(checkout.root, "local").parent.glob("*.json"):
        held = held_by(checkout.root, path.stem)
        assert held is not None
        for name in held.services:
            found[name].append(path.stem)
    return found


def in_shards(shards: int) -> dict[str, list[str]]:
    return {name: [home_stack("local", name, shards)] for name in NAMES}


def test_every_filter_is_in_one_stack_whatever_the_number_was(checkout):
    for shards in (2, 4, 1):
        reshard(checkout, shards)
        assert homes(checkout) == in_shards(shards)
    assert [path.stem for path in state_file(checkout.root, "local").parent.glob("*.json")] == ["local"]


def test_a_kill_between_the_two_records_of_a_move_leaves_a_filter_twice_and_the_same_command_mends_it(
    checkout,
):
    reshard(checkout, 2)
    source = state_file(checkout.root, "local-shard-00")
    before = source.read_bytes()
    reshard(checkout, 4)
    source.write_bytes(before)
    assert max(map(len, homes(checkout).values())) == 2
    refused = checkout.surge("fleet", "up", "local", check=False)
    assert refused.returncode == 1
    assert "surge fleet reshard local --shards 4" in refused.stderr
    assert "were in local-shard-02 already" in reshard(checkout, 4)
    assert homes(checkout) == in_shards(4)


@pytest.mark.parametrize(
    "moment",
    [
        lambda checkout: b'"shards":2' in state_file(checkout.root, "local").read_bytes().replace(b" ", b""),
        lambda checkout: state_file(checkout.root, "local-shard-00").exists(),
        lambda checkout: state_file(checkout.root, "local-shard-01").exists(),
    ],
    ids=["the number is recorded", "the first shard is made", "the second shard is made"],
)
def test_a_move_that_is_killed_goes_on_from_there(checkout, moment: Callable[[Checkout], bool]):
    first = checkout.spawn("fleet", "reshard", "local", "--shards", "2")
    while first.poll() is None and not moment(checkout):
        time.sleep(0.02)
    kill_with_all_it_started(first)
    assert all(homes(checkout).values()), "a kill lost a filter"
    reshard(checkout, 2)
    assert homes(checkout) == in_shards(2)
