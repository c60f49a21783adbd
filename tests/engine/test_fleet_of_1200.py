"""The whole program with as many filters as the case study has."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.stack import build
from lab.bench.fleet.catalogue import SETTINGS, document
from surge.model import Catalogue, Settings
from tests.engine.recording import RecordingMonitor, record

pytestmark = pytest.mark.long

NEW = "filter-0599-new"
KEDA_FOLDERS = ("crd/bases", "general", "service_account", "rbac", "metrics-server")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A checkout whose tools are built, as far as the program looks."""
    root = tmp_path_factory.mktemp("checkout")
    for folder in KEDA_FOLDERS:
        place = root / ".tools" / "keda" / folder
        place.mkdir(parents=True)
        item = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": folder.replace("/", "-")}}
        (place / "object.yaml").write_text(json.dumps(item))
    return root


def program(root: Path, catalogue: dict[str, Any]) -> RecordingMonitor:
    settings = Settings.parse(SETTINGS)
    file = root / "filters.yaml"
    file.write_text(yaml.dump(catalogue, Dumper=yaml.CSafeDumper, sort_keys=False))
    return record(lambda: build(settings, Catalogue.read(file, settings), root=root))


@pytest.fixture(scope="module")
def fleet(root) -> RecordingMonitor:
    return program(root, document())


@pytest.fixture(scope="module")
def inserted(root) -> RecordingMonitor:
    """One more entry, and the file in another order."""
    catalogue = document()
    entries = dict(reversed(catalogue["filters"].items()))
    catalogue["filters"] = {NEW: dict(entries["filter-0000"]), **entries}
    return program(root, catalogue)


def test_every_filter_is_there_once(fleet):
    # Two resources of one URN would have been refused.
    scaled = [f"kubernetes:keda.sh/v1alpha1:{kind}" for kind in ("ScaledObject", "ScaledJob")]
    names = [item.name for kind in scaled for item in fleet.of(kind)]
    assert sorted(names) == sorted(document()["filters"])


def test_a_filter_waits_for_few_resources(fleet):
    # Each is an URN in the state of each object: 200 of them made half of the program's time and memory.
    assert {len(item.dependencies) for item in fleet.of("kubernetes:apps/v1:Deployment")} == {2}


def test_an_entry_that_is_inserted_changes_nothing_of_the_others(fleet, inserted):
    new = {urn for urn in inserted.resources if NEW in urn}
    assert len(new) == 3
    assert inserted.resources.keys() - fleet.resources.keys() == new
    objects = [item for item in fleet.resources.values() if item.custom and item.parent]
    changed = [item.name for item in objects if inserted.resources[item.urn].inputs != item.inputs]
    # What knows every filter: the queues, and the list that the metric server reads while it runs.
    assert sorted(changed) == ["bench-saturation", "bench-topology"]
