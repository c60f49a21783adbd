"""The schema that editors read, and the page for people, are the model's own."""

import json
import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from lab.bench.fleet.catalogue import SETTINGS, catalogue_text, document, extended, renewed, widened
from surge.model import Catalogue, Settings
from surge.model.meaning import MEANING, PATTERNS
from surge.model.schema import FILE, catalogue_schema, rendered

ROOT = Path(__file__).parents[2]
INVALID = Path(__file__).parent / "invalid"
PAGE = (ROOT / "docs" / "catalogue.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
# What is wrong with one value alone, an editor shows at once.
OF_ONE_VALUE = (
    "fraction-of-a-worker",
    "gpu-as-a-number",
    "gpu-trainer-by-tag",
    "gpu-unknown-key",
    "image-by-tag",
    "image-in-defaults",
    "image-short-digest",
    "model-double-slash",
    "model-is-a-number",
    "model-over-http",
    "model-share-upper-case",
    "model-with-control-signs",
    "model-without-path",
    "model-without-store",
    "name-too-long",
    "name-upper-case",
    "override-bad-pattern",
    "override-out-of-range",
    "override-sets-the-class",
    "override-unknown-part",
    "override-unknown-selector",
    "overrides-as-a-mapping",
    "priority-unknown",
    "queue-options-as-a-list",
    "queue-options-out-of-range",
    "queue-options-unknown-key",
    "runs-in-as-text",
    "runs-in-nowhere",
    "runs-in-unknown-place",
    "slots-zero",
    "target-as-text",
    "target-out-of-range",
    "target-true",
    "unknown-class",
    "unknown-key",
    "unknown-section",
    "worker-set-name",
)


@pytest.fixture(scope="module")
def editor() -> Draft202012Validator:
    schema = json.loads((ROOT / FILE).read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def problems(editor: Draft202012Validator, content: object) -> list[str]:
    return [error.message for error in editor.iter_errors(content)]


def test_the_schema_in_the_checkout_is_of_today():
    assert (ROOT / FILE).read_text() == rendered(), "stale: run python -m surge.model.schema"


def test_an_editor_finds_nothing_wrong_with_the_sample(editor):
    assert problems(editor, yaml.safe_load((ROOT / "filters.yaml").read_text())) == []


def test_nor_with_a_catalogue_of_the_case_studys_size(editor):
    assert problems(editor, document(300)) == []


@pytest.mark.long
def test_the_catalogue_of_the_benches_fits_their_stack(tmp_path):
    file = tmp_path / "filters.yaml"
    file.write_text(catalogue_text())
    assert len(Catalogue.read(file, Settings.parse(SETTINGS)).filters) == 1_200
    last = extended(widened(renewed(renewed(document(), "2nd"), "2nd", running=True)))
    file.write_text(yaml.safe_dump(last))
    assert len(Catalogue.read(file, Settings.parse(SETTINGS)).filters) == 1_201
    before = document()["filters"]
    assert sum(entry != before.get(name) for name, entry in last["filters"].items()) == 4


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split(":")[1].strip())
def test_every_example_of_the_page_is_valid_for_editors_and_on_a_stack(editor, example, tmp_path):
    assert problems(editor, yaml.safe_load(example)) == []
    pools = {"shared": {"kind": "shared", "nodes": 1}, "pairs": {"kind": "pairs", "nodes": 3, "slots": 4}}
    shares = {"models": {"claim": "models"}}
    stack = {
        "stack-kind": "local",
        "cluster": {"name": "docs", "nodes": 9, "pools": pools},
        "workers": {"models": {"shares": shares}},
    }
    file = tmp_path / "filters.yaml"
    file.write_text(example)
    assert Catalogue.read(file, Settings.parse(stack)).filters


def test_the_page_has_an_example_of_every_class_and_shape():
    text = "\n".join(EXAMPLES)
    for part in (
        "class: batch",
        "class: scale-to-zero",
        "class: pooled",
        "trainer:",
        "gpus: 2",
        "cores: 20}",
    ):
        assert part in text


@pytest.mark.parametrize("name", OF_ONE_VALUE)
def test_an_editor_shows_what_is_wrong_with_a_single_value(editor, name):
    assert problems(editor, yaml.safe_load((INVALID / f"filters.{name}.yaml").read_text())) != []


def test_every_key_has_its_meaning_and_no_meaning_is_left_over():
    def described(part: object) -> set[str]:
        if isinstance(part, dict):
            own = {part["description"]} if isinstance(part.get("description"), str) else set()
            return own.union(*map(described, part.values()))
        return set()

    assert set(MEANING.values()) <= described(catalogue_schema())
    assert PATTERNS.keys() <= MEANING.keys()
