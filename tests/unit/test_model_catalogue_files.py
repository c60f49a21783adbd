"""A catalogue that is a folder of files."""

import os
from pathlib import Path

import pytest

from surge.model import Catalogue, ProblemsError, Settings

IMAGE = "registry.example/ghibli@sha256:" + "0" * 64
KEYS = f"{{image: '{IMAGE}', service-s: 2, min: 1, max: 2, longest-job-s: 9, owner: me}}"


def folder(tmp_path: Path, **files: str) -> Path:
    place = tmp_path / "filters"
    place.mkdir()
    for name, text in files.items():
        (place / f"{name}.yaml").write_text(text)
    return place


def problems(place: Path) -> list[str]:
    with pytest.raises(ProblemsError) as seen:
        Catalogue.read(place)
    return seen.value.problems


def test_entries_of_all_files_are_one_catalogue_sorted_by_name(tmp_path: Path):
    place = folder(
        tmp_path,
        b=f"filters:\n  clay: {KEYS}\n",
        a=f"filters:\n  sketch: {KEYS}\n  anime: {KEYS}\n",
        common="defaults:\n  interactive: {slo-s: 7}\n",
    )
    (place / "README.md").write_text("who owns what")
    (place / ".draft.yaml").write_text("filters: {")
    catalogue = Catalogue.read(place)
    assert [(each.name, each.slo_s) for each in catalogue.filters] == [
        ("anime", 7),
        ("clay", 7),
        ("sketch", 7),
    ]


def test_the_settings_may_name_a_folder():
    settings = {"stack-kind": "local", "cluster": {"name": "a"}, "catalogue": "filters"}
    assert Settings.parse(settings).catalogue == "filters"


def test_a_filter_in_two_files_is_refused_naming_both(tmp_path: Path):
    text = f"filters:\n  clay: {KEYS}\n"
    assert problems(folder(tmp_path, a=text, b="# moved\n" + text)) == [
        "filters/b.yaml:3: filters.clay: stands in filters/a.yaml:2 too: want one entry for a filter"
    ]


@pytest.mark.parametrize("section", ["defaults: {batch: {slots: 2}}", "overrides: []"])
def test_defaults_and_overrides_belong_into_one_file(tmp_path: Path, section: str):
    [line] = problems(folder(tmp_path, a=f"{section}\nfilters:\n  clay: {KEYS}\n", b=section))
    name = section.partition(":")[0]
    assert line == (f"filters/b.yaml:1: {name}: stands in filters/a.yaml:1 too: {name} belong into one file")


def test_the_problems_of_all_files_come_at_once_each_with_its_file_and_line(tmp_path: Path):
    place = folder(
        tmp_path,
        a=f"filters:\n  Clay: {KEYS}\n",
        b=f"filters:\n  clay: {KEYS.replace('min: 1', 'min: 3')}\n",
    )
    assert [line.partition(": ")[0] for line in problems(place)] == ["filters/a.yaml:2", "filters/b.yaml:2"]
    (place / "c.yaml").write_text("filters: [")
    (place / "d.yaml").write_text("a: &x 1\n")
    assert [line.partition(":")[0] for line in problems(place)] == ["filters/c.yaml", "filters/d.yaml"]


def test_what_would_silently_not_be_read_is_refused(tmp_path: Path):
    place = folder(tmp_path, a=f"filters:\n  clay: {KEYS}\n")
    (place / "b.yml").write_text("filters: {}")
    (place / "old").mkdir()
    os.mkfifo(place / "pipe.yaml")
    found = problems(place)
    assert [line.partition(":")[0] for line in found] == ["filters/b.yml", "filters/old", "filters/pipe.yaml"]


def test_an_empty_folder_and_one_beyond_the_size_of_a_catalogue_are_refused(tmp_path: Path):
    place = folder(tmp_path)
    assert problems(place) == ["filters: no *.yaml file in it: want at least one with `filters:`"]
    for name in "ab":
        (place / f"{name}.yaml").write_text("# " + "x" * 3 * 2**20)
    assert problems(place) == ["filters: larger than 4 MiB in all: this is no catalogue"]


def test_a_file_that_is_no_mapping_is_one_line(tmp_path: Path):
    place = folder(tmp_path, a=f"filters:\n  clay: {KEYS}\n", b="- 1\n", c="")
    assert [line.partition(": ")[0] for line in problems(place)] == ["filters/b.yaml", "filters/c.yaml"]
