import posixpath
from pathlib import Path, PurePosixPath

import pytest
import yaml
from hypothesis import given, settings
from hypothesis.strategies import (
    binary,
    data,
    from_regex,
    integers,
    lists,
    permutations,
    randoms,
    sampled_from,
    text,
)
from pydantic import TypeAdapter, ValidationError

from surge.model import Catalogue, ProblemsError, Settings
from surge.model.entry import CLASSES
from surge.model.values import ModelReference
from surge.policy.gpu import Fraction, Pair, Whole

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "filters.yaml"
IMAGE = "registry.example/ghibli@sha256:" + "0" * 64


def parsed(folder: Path, text: str) -> Catalogue:
    file = folder / "filters.yaml"
    file.write_text(text)
    return Catalogue.read(file)


def filters(**entries: dict) -> str:
    usual = {"image": IMAGE, "service-s": 2, "min": 1, "max": 2, "longest-job-s": 9, "owner": "me"}
    return yaml.safe_dump({"filters": {name: {**usual, **entry} for name, entry in entries.items()}})


@pytest.mark.parametrize("stack", ["local", "onprem", "aws"])
def test_the_sample_catalogue_fits_every_stack_of_the_checkout(stack):
    document = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())
    catalogue = Catalogue.read(SAMPLE, Settings.parse(document["config"]["surge:settings"]))
    assert {each.service_class for each in catalogue.filters} == set(CLASSES)
    assert {type(each.shape) for each in catalogue.filters} == {Whole, Fraction, Pair}


def test_the_twins_of_the_sample_differ_in_nothing_but_the_signal():
    catalogue = Catalogue.read(SAMPLE)
    demand, ratio = (catalogue[name].model_dump() for name in ("ghibli", "ghibli-ratio"))
    different = {key for key in demand if demand[key] != ratio[key]}
    assert different == {"name", "queue", "signal", "target"}
    assert (demand["signal"], ratio["signal"], ratio["target"]) == ("demand", "ratio", 0.7)
    assert (demand["service_s"], demand["warmup_s"], demand["min"], demand["max"]) == (8, 60, 10, 110)


def test_a_spike_on_the_twins_and_two_small_filters_stays_below_300_workers():
    catalogue = Catalogue.read(SAMPLE)
    spiked = {"ghibli", "ghibli-ratio", "sketch", "clay"}
    assert sum(each.max if each.name in spiked else each.min for each in catalogue.filters) < 300


@settings(max_examples=25, deadline=None)
@given(permutations(list(yaml.safe_load(SAMPLE.read_text())["filters"])), randoms())
def test_the_order_of_the_file_never_changes_the_result(tmp_path_factory, order, random):
    content = yaml.safe_load(SAMPLE.read_text())
    shuffled = {name: _shuffled(content["filters"][name], random) for name in order}
    defaults = _shuffled(content["defaults"], random)
    folder = tmp_path_factory.mktemp("catalogue")
    text = yaml.safe_dump({"filters": shuffled, "defaults": defaults}, sort_keys=False)
    assert parsed(folder, text) == Catalogue.read(SAMPLE)


def _shuffled(mapping: dict, random) -> dict:
    items = list(mapping.items())
    random.shuffle(items)
    return dict(items)


@settings(max_examples=200, deadline=None)
@given(binary(max_size=200))
def test_no_bytes_make_the_reader_fail_in_another_way(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("bytes") / "filters.yaml"
    file.write_bytes(content)
    with pytest.raises(ProblemsError):
        Catalogue.read(file)


def test_a_class_default_applies_unless_the_filter_says_otherwise(tmp_path: Path):
    catalogue = parsed(
        tmp_path,
        "defaults:\n  interactive: {slo-s: 20, owner: team, longest-job-s: 60, min: 1, max: 4}\n"
        f"filters:\n  a: {{image: '{IMAGE}', service-s: 2}}\n"
        f"  b: {{image: '{IMAGE}', service-s: 2, slo-s: 30}}\n",
    )
    assert [(each.name, each.slo_s, each.owner) for each in catalogue.filters] == [
        ("a", 20, "team"),
        ("b", 30, "team"),
    ]


def overridden(*overrides: dict, **entries: dict) -> str:
    return yaml.safe_dump({"overrides": list(overrides), **yaml.safe_load(filters(**entries))})


def test_the_last_override_wins_over_the_others_and_the_entry_over_all(tmp_path: Path):
    text = overridden(
        {"select": {"class": "interactive"}, "set": {"slo-s": 10, "drain-s": 11}},
        {"select": {"names": "photo-*", "owner": "me"}, "set": {"slo-s": 20}},
        **{"photo-a": {}, "photo-b": {"slo-s": 30}, "photo-c": {"owner": "you"}, "a": {}},
    )
    seen = {each.name: (each.slo_s, each.drain_s) for each in parsed(tmp_path, text).filters}
    assert seen == {"photo-a": (20, 11), "photo-b": (30, 11), "photo-c": (10, 11), "a": (10, 11)}


def test_an_override_selects_by_what_entry_and_class_say_not_by_what_another_one_set(tmp_path: Path):
    text = overridden(
        {"select": {"priority": "normal"}, "set": {"priority": "high"}},
        {"select": {"priority": "low"}, "set": {"priority": "normal"}},
        a={},
        b={"class": "batch", "drain-s": 5},
    ).replace("filters:", "defaults: {batch: {priority: low}}\nfilters:")
    assert [each.priority for each in parsed(tmp_path, text).filters] == ["high", "normal"]


def test_pooled_filters_take_their_worker_set_from_an_override(tmp_path: Path):
    pool = {"select": {"class": "pooled"}, "set": {"worker-set": "warm", "image": IMAGE, "slots": 2}}
    text = overridden(pool, a={"class": "pooled"}, b={"class": "pooled"})
    assert {(each.worker_set, each.slots) for each in parsed(tmp_path, text).filters} == {("warm", 2)}


names = lists(from_regex(r"[a-z]{1,6}", fullmatch=True), min_size=2, max_size=6, unique=True)


@settings(max_examples=60, deadline=None)
@given(names, data())
def test_inserting_an_entry_or_moving_it_to_another_file_changes_no_other_filter(
    tmp_path_factory, names, data
):
    entries = {
        name: {"max": data.draw(integers(1, 9)), "class": data.draw(sampled_from(["interactive", "batch"]))}
        for name in names
    }
    overrides = [
        {"select": {"names": "a*"}, "set": {"slo-s": 900}},
        {"select": {"class": "batch"}, "set": {}},
    ]
    overrides[1]["set"] = {"slo-s": 7200, "slots": 2}
    places = [data.draw(sampled_from(["a.yaml", "b.yaml", "c.yaml"])) for _ in names]
    whole = _catalogue_in(tmp_path_factory.mktemp("whole"), entries, ["one.yaml"] * len(names), overrides)
    split = _catalogue_in(tmp_path_factory.mktemp("split"), entries, places, overrides)
    assert split == whole
    without = dict(list(entries.items())[1:])
    fewer = _catalogue_in(tmp_path_factory.mktemp("fewer"), without, places[1:], overrides)
    assert [each for each in whole.filters if each.name != names[0]] == list(fewer.filters)


def _catalogue_in(folder: Path, entries: dict, places: list[str], overrides: list[dict]) -> Catalogue:
    """Each entry in the file of `folder` that `places` says; overrides that would select nobody left out."""
    used = [
        each
        for each in overrides
        if any(
            name.startswith("a") if "names" in each["select"] else entry["class"] == "batch"
            for name, entry in entries.items()
        )
    ]
    (folder / "0-common.yaml").write_text(yaml.safe_dump({"overrides": used}))
    for file in set(places):
        here = {
            name: entry for (name, entry), place in zip(entries.items(), places, strict=True) if place == file
        }
        (folder / file).write_text(filters(**here))
    return Catalogue.read(folder)


def test_a_filter_says_what_it_leaves_out_by_the_documented_defaults(tmp_path: Path):
    text = f"filters:\n  a: {{image: '{IMAGE}', service-s: 2, min: 1, max: 2, longest-job-s: 9, owner: me}}\n"
    [each] = parsed(tmp_path, text).filters
    assert (each.slots, each.warmup_s, each.gpus, each.signal, each.target) == (1, 60, 1, "demand", None)
    assert (each.slo_s, each.drain_s, each.queue, each.service_class) == (60, 60, "filter.a", "interactive")


@pytest.mark.parametrize(
    "reference", ["nas://models/ghibli", "nas://models/a/b-2/c_3", "s3://models.eu/ghibli/v2.safetensors"]
)
def test_a_model_is_a_folder_on_a_share_or_an_object_in_a_bucket(tmp_path: Path, reference: str):
    assert parsed(tmp_path, filters(a={"model": reference}))["a"].model == reference


@given(reference=text(max_size=40).map("nas://models/".__add__))
def test_no_accepted_model_reference_leaves_its_store(reference: str):
    try:
        seen = TypeAdapter(ModelReference).validate_python(reference)
    except ValidationError:
        return
    assert seen == reference
    assert reference.isprintable()
    assert PurePosixPath(posixpath.normpath("/models/" + reference[13:])).is_relative_to("/models")


def test_a_filter_runs_on_all_machines_unless_it_says_where(tmp_path: Path):
    catalogue = parsed(tmp_path, filters(a={}, b={"runs-in": ["cloud"]}, c={"runs-in": ["onprem", "cloud"]}))
    assert [each.name for each in catalogue.filters if each.runs_at("onprem")] == ["a", "c"]
    assert all(each.runs_at("cloud") for each in catalogue.filters)
    assert catalogue["c"].runs_in == catalogue["a"].runs_in


def test_pooled_filters_with_equal_workers_make_a_set_that_counts_once(tmp_path: Path):
    pooled = {"class": "pooled", "worker-set": "warm", "min": 5, "max": 8}
    file = tmp_path / "filters.yaml"
    file.write_text(filters(a=pooled, b={**pooled, "service-s": 3}, c={"max": 3}))
    eight_gpus = Settings.parse({"stack-kind": "local", "cluster": {"name": "one", "nodes": 1}})
    assert [each.worker_set for each in Catalogue.read(file, eight_gpus).filters] == ["warm", "warm", None]
    file.write_text(filters(a=pooled, b={**pooled, "worker-set": "other"}))
    with pytest.raises(ProblemsError, match="the minimums of all filters need 10 GPUs"):
        Catalogue.read(file, eight_gpus)


def test_what_runs_elsewhere_needs_no_room_here(tmp_path: Path):
    file = tmp_path / "filters.yaml"
    file.write_text(filters(a={"max": 500, "runs-in": ["cloud"]}))
    local = Settings.parse({"stack-kind": "local", "cluster": {"name": "one", "nodes": 1}})
    assert Catalogue.read(file, local)["a"].max == 500


PART = {"memory-mib": 40_000, "cores": 40}


@pytest.mark.parametrize("stack", ["onprem", "aws"])
def test_minimums_must_fit_into_the_pools_that_a_stack_declares_and_maximums_may_grow(tmp_path: Path, stack):
    file = tmp_path / "filters.yaml"
    pools = {"parts": {"kind": "shared", "nodes": 1}}
    given = Settings.parse({"stack-kind": stack, "cluster": {"name": "one", "pools": pools}})
    file.write_text(filters(a={"gpu": PART, "min": 16, "max": 900}, b={"min": 900, "max": 900}))
    assert len(Catalogue.read(file, given).filters) == 2
    file.write_text(filters(a={"gpu": PART, "min": 18, "max": 900}, b={}))
    with pytest.raises(ProblemsError, match=r"leave 2 workers .* raise cluster\.pools\.parts\.nodes"):
        Catalogue.read(file, given)


def test_minimums_must_fit_into_a_clusters_own_nodes_once_they_are_stated(tmp_path: Path):
    file = tmp_path / "filters.yaml"
    file.write_text(filters(a={"min": 41, "max": 41}))
    one = {"stack-kind": "onprem", "cluster": {"name": "one"}}
    assert Catalogue.read(file, Settings.parse(one))["a"].min == 41
    stated = Settings.parse({**one, "cluster": {"name": "one", "nodes": 5}})
    with pytest.raises(ProblemsError, match=r"need 41 GPUs, .* 40: .* raise cluster\.nodes to 6"):
        Catalogue.read(file, stated)


def test_filters_are_frozen(tmp_path: Path):
    [first, *_] = Catalogue.read(SAMPLE).filters
    with pytest.raises(ValueError, match="frozen"):
        first.max = 7
