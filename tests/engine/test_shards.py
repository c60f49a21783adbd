"""A fleet in shards is the same fleet: every service once, alike, in the stack that its name's hash says."""

import pytest

from components.shard import build_shard
from components.stack import build
from surge.cli.fleet_base import OF_SHARDS
from surge.model import Catalogue, Shard, services
from surge.policy.shards import shard_of
from tests.engine.recording import Recorded, RecordingMonitor, record
from tests.engine.test_stack import DEPLOYMENT, SCALED_OBJECT, catalogue, root, settings, stack

__all__ = ["catalogue", "root", "stack"]

SHARDS = 4
SERVICE = "surge:fleet:FilterService"
OUTPUTS = {
    "cluster": {"kubeconfig": "one kubeconfig"},
    "access": {"saturation_token": "t", "saturation_ca": "ca"},
}


def shard(index: int, catalogue: Catalogue, only: list[str] | None = None) -> RecordingMonitor:
    told = Shard.model_validate(
        {
            "base": "test",
            "index": index,
            "shards": SHARDS,
            "services": {"ghibli": "g"},
            "saturation": {
                "url": f"https://127.0.0.1:{settings().ports.saturation}",
                "authentication": "saturation",
                "auth-modes": "bearer",
            },
        }
    )
    return record(
        lambda: build_shard(settings(), catalogue, told, only),
        stack=f"test-shard-{index:02}",
        references={"organization/surge/test": OUTPUTS},
    )


@pytest.fixture(scope="module")
def shards(catalogue) -> list[RecordingMonitor]:
    return [shard(index, catalogue) for index in range(SHARDS)]


def alike(one: Recorded, other: Recorded) -> bool:
    """Whether a move from one stack to the other leaves nothing to change."""
    return one.inputs == other.inputs and one.urn.split("::")[1:] == other.urn.split("::")[1:]


def test_every_filter_has_one_service_in_its_own_shard(shards, catalogue):
    for index, made in enumerate(shards):
        names = {item.name for item in made.of(SERVICE)}
        ours = services(catalogue.filters)
        assert names == {item.name for item in ours if shard_of(item.name, SHARDS) == index}


def test_a_service_moves_between_stacks_without_a_change(shards, stack):
    for made in shards:
        for token in (DEPLOYMENT, SCALED_OBJECT):
            for item in made.of(token):
                assert alike(item, stack.named(token, item.name))
        [provider] = made.of("pulumi:providers:kubernetes")
        [at_base] = stack.of("pulumi:providers:kubernetes")
        assert provider.name == at_base.name
        assert provider.inputs.keys() - at_base.inputs.keys() == {"upsertExistingObjects"}


def test_an_update_of_one_service_declares_it_alone_and_as_it_is_in_the_whole(shards, catalogue):
    index = shard_of("ghibli", SHARDS)
    alone = shard(index, catalogue, only=["ghibli"])
    assert [item.name for item in alone.of(SERVICE)] == ["ghibli"]
    for token in (DEPLOYMENT, SCALED_OBJECT):
        assert alike(alone.named(token, "ghibli"), shards[index].named(token, "ghibli"))


def test_all_that_belongs_to_a_service_bears_its_name(shards):
    for made in shards:
        for item in (item for item in made.resources.values() if f"{SERVICE}$" in item.urn):
            assert item.parent.rpartition("::")[2] == item.name


def test_a_service_tells_the_digest_that_it_is_made_from(shards):
    told = {item.name: item.inputs for made in shards for item in made.of(SERVICE)}
    assert told.pop("ghibli") == {"digest": "g"}
    assert list(told.values()) == [{}] * len(told)
    finished = {urn.rpartition("::")[2]: it for made in shards for urn, it in made.outputs.items()}
    assert finished["ghibli"] == {"digest": "g"}


def test_what_is_of_shards_alone_changes_nothing_of_the_stack_itself(catalogue, root):
    others = {
        "image": f"registry.example/other@sha256:{'1' * 64}",
        "model": "nas://models/other",
        "gpu": None,
        "gpus": 4,
        "owner": "others",
        "priority": "low",
        "target": 0.5,
    }
    assert others.keys() == OF_SHARDS
    changed = Catalogue(
        tuple(
            each.model_copy(update=others) if each.name == "ghibli-ratio" else each
            for each in catalogue.filters
        )
    )
    before, after = (
        record(lambda of=of: build(settings(), of, root=root, shards=SHARDS)) for of in (catalogue, changed)
    )
    assert {urn: it.inputs for urn, it in after.resources.items()} == {
        urn: it.inputs for urn, it in before.resources.items()
    }
    assert after.outputs == before.outputs


def test_a_shard_has_services_and_nothing_else(shards):
    for made in shards:
        kinds = {item.token for item in made.resources.values() if not item.parent.count(SERVICE)}
        assert kinds <= {SERVICE, "pulumi:pulumi:Stack", "pulumi:providers:kubernetes"}


def test_the_base_of_a_sharded_fleet_has_all_but_the_services(stack, catalogue, root):
    base = record(lambda: build(settings(), catalogue, root=root, shards=SHARDS))
    left = {urn for urn in stack.resources if SERVICE not in urn}
    assert set(base.resources) == left
