"""The stack itself is left alone as long as nothing that it is made from has changed, and looked at else."""

from pathlib import Path

import pytest

from surge.cli.fleet_base import base_digest, is_current, remember
from surge.cli.stacks import state_file
from surge.model import Catalogue, Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    """A checkout with one source file and a state."""
    monkeypatch.delenv("PULUMI_BACKEND_URL", raising=False)
    monkeypatch.setattr("surge.cli.stacks.own_backend", lambda _root: True)
    (tmp_path / "components").mkdir()
    (tmp_path / "components" / "stack.py").write_text("one")
    state_file(tmp_path, "local").parent.mkdir(parents=True)
    state_file(tmp_path, "local").write_text("state")
    return tmp_path


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue.read(ROOT / "filters.yaml")


def settings(**cluster: int) -> Settings:
    return Settings.parse({"stack-kind": "local", "cluster": {"name": "one", **cluster}})


def changed(catalogue: Catalogue, **values: object) -> Catalogue:
    first, *rest = catalogue.filters
    return Catalogue(filters=(first.model_copy(update=values), *rest))


def test_a_new_image_leaves_the_stack_itself_as_it_is(root, catalogue):
    before = base_digest(root, settings(), catalogue, 8)
    assert base_digest(root, settings(), changed(catalogue, image="other"), 8) == before


@pytest.mark.parametrize("values", [{"queue": "filter.other"}, {"slots": 9}, {"service_s": 9.5}, {"max": 99}])
def test_what_queues_and_metrics_know_of_a_filter_changes_it(root, catalogue, values):
    before = base_digest(root, settings(), catalogue, 8)
    assert base_digest(root, settings(), changed(catalogue, **values), 8) != before


def test_settings_shards_and_the_program_change_it(root, catalogue):
    before = base_digest(root, settings(), catalogue, 8)
    assert base_digest(root, settings(nodes=6), catalogue, 8) != before
    assert base_digest(root, settings(), catalogue, 16) != before
    (root / "components" / "stack.py").write_text("two")
    assert base_digest(root, settings(), catalogue, 8) != before


def test_it_is_current_until_its_state_is_written_again(root):
    assert not is_current(root, "local", "digest")
    remember(root, "local", "digest")
    assert is_current(root, "local", "digest")
    assert not is_current(root, "local", "another")
    state_file(root, "local").write_text("what a refresh found")
    assert not is_current(root, "local", "digest")
