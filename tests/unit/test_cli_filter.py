"""`surge filter add` and `surge filter diff` on a checkout of their own."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from surge.cli.app import app
from surge.cli.stacks import read_settings
from surge.model import Catalogue
from surge.model.footprint import footprint

ROOT = Path(__file__).parents[2]
IMAGE = "registry.example/new@sha256:" + "1" * 64
NEEDED = ("--image", IMAGE, "--set", "service-s=4", "--set", "min=1", "--set", "max=3")
POOLED = f"""
defaults:
  pooled: {{longest-job-s: 9, owner: me}}
filters:
  a: {{class: pooled, worker-set: warm, image: '{IMAGE}', service-s: 2, min: 2, max: 4}}
"""


def run(*arguments: str):
    return CliRunner().invoke(app, ["filter", *arguments])


def git(folder: Path, *arguments: str) -> None:
    name = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *name, "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A commit with the settings and the catalogue of this checkout."""
    for name in ("Pulumi.local.yaml", "filters.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "as it was")
    monkeypatch.setattr("surge.cli.catalogue.checkout", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def folder(checkout):
    """The same with a catalogue of one file per filter."""
    filters = checkout / "filters"
    filters.mkdir()
    whole = yaml.safe_load((checkout / "filters.yaml").read_text())
    (filters / "0-defaults.yaml").write_text(yaml.safe_dump({"defaults": whole["defaults"]}))
    for name, entry in whole["filters"].items():
        (filters / f"{name}.yaml").write_text(yaml.safe_dump({"filters": {name: entry}}))
    settings = checkout / "Pulumi.local.yaml"
    settings.write_text(
        settings.read_text().replace("stack-kind: local", "stack-kind: local\n    catalogue: filters")
    )
    return filters


def test_an_entry_is_added_and_every_other_line_stays_as_it_was(checkout):
    file = checkout / "filters.yaml"
    before = file.read_text().splitlines()
    result = run("add", "poster", *NEEDED, "--owner", "prints", "--set", "queue-options={max-length: 9}")
    assert result.exit_code == 0, result.stderr
    after = file.read_text().splitlines()
    start = after.index("  poster:")
    added = after[start : start + len(after) - len(before)]
    assert after[:start] + after[start + len(added) :] == before
    item = Catalogue.read(file)["poster"]
    assert (item.owner, item.service_s, item.queue_options.max_length) == ("prints", 4, 9)


def test_a_copy_stands_behind_its_source_and_has_a_queue_of_its_own(checkout):
    file = checkout / "filters.yaml"
    file.write_text(
        file.read_text().replace(
            "    max: 20\n    slo-s: 20", "    max: 20\n    queue: filter.x\n    slo-s: 20"
        )
    )
    assert Catalogue.read(file)["sticker"].queue == "filter.x"
    assert run("add", "badge", "--from", "sticker", "--set", "max=4").exit_code == 0
    catalogue = Catalogue.read(file)
    badge, sticker = catalogue["badge"], catalogue["sticker"]
    assert (badge.max, badge.queue, badge.gpu) == (4, "filter.badge", sticker.gpu)
    names = list(yaml.safe_load(file.read_text())["filters"])
    assert names.index("badge") == names.index("sticker") + 1


def test_what_is_wrong_comes_at_once_and_the_file_is_untouched(checkout):
    before = (checkout / "filters.yaml").read_bytes()
    result = run("add", "Poster", "--image", "poster:latest", "--set", "slots=0", "--set", "slo=3")
    assert result.exit_code == 1
    for part in (
        "Poster:",
        "Poster.image:",
        "Poster.slots: 0",
        'did you mean "slo-s"',
        "Poster.min: missing",
    ):
        assert part in result.stderr
    assert result.stderr.endswith("nothing was written: mend the flags, and run it again\n")
    assert (checkout / "filters.yaml").read_bytes() == before
    assert [each.name for each in checkout.iterdir() if each.name.startswith(".filters")] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("clay", *NEEDED), 'there is a filter "clay" already: nothing was written'),
        (("poster", "--from", "clai"), 'no filter "clai" to start from, did you mean "clay"?'),
        (("poster", "--set", "slots"), "sets nothing"),
        (("poster", "--set", "gpu={memory"), "is not YAML"),
        (("poster", *NEEDED, "--set", "max=9000"), "nodes x 8 GPUs hold 288"),
    ],
)
def test_an_addition_that_makes_no_sense_is_refused_in_words(checkout, arguments, said):
    before = (checkout / "filters.yaml").read_bytes()
    result = run("add", *arguments)
    assert result.exit_code == 1
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert (checkout / "filters.yaml").read_bytes() == before


@pytest.mark.parametrize("name", ["../outside", "a/b", "", "no", "1"])
def test_no_name_writes_outside_the_catalogue(folder, name):
    before = {file: file.read_bytes() for file in folder.parent.rglob("*.yaml")}
    result = run("add", *NEEDED, "--owner", "me", "--", name)
    now = {file: file.read_bytes() for file in folder.parent.rglob("*.yaml")}
    if name in {"no", "1"}:
        assert result.exit_code == 0
        assert now.keys() - before.keys() == {folder / f"{name}.yaml"}
    else:
        assert result.exit_code == 1
        assert now == before


def test_in_a_folder_a_new_filter_gets_a_file_of_its_own(folder):
    assert run("add", "poster", "--from", "sketch").exit_code == 0
    assert list(yaml.safe_load((folder / "poster.yaml").read_text())["filters"]) == ["poster"]
    assert "poster" in run("list").stdout


def test_the_mode_and_the_line_endings_of_the_file_are_kept(checkout):
    file = checkout / "filters.yaml"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n").removesuffix(b"\r\n"))
    file.chmod(0o640)
    assert run("add", "poster", *NEEDED, "--owner", "me").exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o640
    assert file.read_bytes().count(b"\n") == file.read_bytes().count(b"\r\n")


def test_a_catalogue_behind_a_link_stays_behind_it(checkout):
    (checkout / "filters.yaml").rename(checkout / "real.yaml")
    (checkout / "filters.yaml").symlink_to("real.yaml")
    assert run("add", "poster", *NEEDED, "--owner", "me").exit_code == 0
    assert (checkout / "filters.yaml").readlink() == Path("real.yaml")
    assert "poster" in (checkout / "real.yaml").read_text()


def test_a_diff_tells_filters_objects_and_gpus(checkout):
    assert run("diff").stdout == "no filter differs from HEAD\n"
    run("add", "poster", "--from", "sketch", "--set", "max=6")
    file = checkout / "filters.yaml"
    file.write_text(
        file.read_text().replace("    max: 110\n    signal: ratio", "    max: 100\n    signal: ratio")
    )
    lines = run("diff").stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:3]] == [
        ["~", "ghibli-ratio", "changed"],
        ["+", "poster", "added"],
    ]
    assert "max: 110 -> 100" in lines[1]
    assert lines[4:9] == [
        "+ Queue filter.poster",
        "~ ScaledObject filters/ghibli-ratio",
        "    spec.maxReplicaCount: 110 -> 100",
        "+ Deployment filters/poster",
        "+ ScaledObject filters/poster",
    ]
    assert "(-4) at max" in lines[-2]
    assert "set surge:settings.prices in Pulumi.local.yaml" in lines[-1]


def test_a_diff_counts_money_where_prices_are_known(checkout):
    settings = checkout / "Pulumi.local.yaml"
    settings.write_text(settings.read_text() + "    prices: {gpu: 2.5, shared: 1, pairs: 1}\n")
    run("add", "poster", "--from", "sketch", "--set", "max=6")
    found = json.loads(run("diff", "--json").stdout)
    poster = found["filters"]["poster"]
    assert poster["gpus"] == {"min": [0, 2], "max": [0, 6]}
    assert poster["money_per_hour"] == {"min": [0, 5], "max": [0, 15]}
    before, after = found["total"]["money_per_hour"]["min"]
    assert after - before == pytest.approx(5)
    assert "money an hour: " in run("diff").stdout
    assert "?" not in run("diff").stdout


def test_changed_limits_of_a_queue_are_a_policy_that_lives_beside_it(checkout):
    file = checkout / "filters.yaml"
    old = file.read_text()
    file.write_text(old.replace("  sketch:\n", "  sketch:\n    queue-options: {delivery-limit: 2}\n"))
    before = checkout / "before.yaml"
    before.write_text(old.replace("  sketch:\n", "  sketch:\n    queue-options: {delivery-limit: 3}\n"))
    said = run("diff").stdout
    assert "+ Policy filter.sketch\n" in said
    assert "Queue filter.sketch" not in said
    assert "    delivery-limit: 3 -> 2\n" in run("diff", "--against", str(before)).stdout


def test_a_filter_of_a_worker_set_takes_nothing_and_the_set_takes_its_gpus_once(checkout, tmp_path):
    file = checkout / "filters.yaml"
    file.write_text(POOLED)
    old = tmp_path / "old.yaml"
    old.write_text(POOLED)
    more = yaml.safe_load(POOLED)
    more["filters"] |= {"b": {**more["filters"]["a"], "service-s": 3}}
    file.write_text(yaml.safe_dump(more))
    found = json.loads(run("diff", "--json", "--against", str(old)).stdout)
    assert found["filters"]["b"]["gpus"] == {"min": [0, 0], "max": [0, 0]}
    assert found["worker_sets"]["warm"]["gpus"] == {"min": [2, 2], "max": [4, 4]}
    assert found["total"]["gpus"]["max"] == [4, 4]


def test_a_diff_reads_another_commit_another_file_or_says_what_it_needs(checkout, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text((checkout / "filters.yaml").read_text().replace("    max: 110\n", "    max: 90\n"))
    assert "max: 90 -> 110" in run("diff", "--against", str(other)).stdout
    git(checkout, "mv", "filters.yaml", "moved.yaml")
    git(checkout, "commit", "-qm", "moved")
    (checkout / "filters.yaml").write_text(other.read_text())
    assert "was not there at HEAD" in run("diff").stderr
    assert "max: 110 -> 90" in run("diff", "--against", "HEAD~1").stdout
    for wrong in ("nowhere", "--output=x", "HEAD^{tree}"):
        result = run("diff", "--against", wrong)
        assert result.exit_code == 1
        assert "neither a file nor a commit" in result.stderr
    other.write_text("filters: {}")
    assert "not valid by today's rules" in run("diff", "--against", str(other)).stderr


def test_show_says_where_each_value_comes_from(checkout):
    lines = {line.split()[0]: line.split()[1:3] for line in run("show", "archive").stdout.splitlines()}
    assert lines["slo-s"] == ["defaults.batch", "3600"]
    assert lines["service-s"][0].startswith("filters.yaml:")
    assert lines["slots"] == ["built", "in"]


def test_check_says_how_many_gpus_the_filters_take(checkout):
    settings = read_settings(checkout, "local")
    filters = Catalogue.read(checkout / "filters.yaml", settings).filters
    takes = footprint(filters, settings)
    gpus = f"on local {takes.least:g} GPUs at min, {takes.most:g} at max"
    summary, head, *pools = run("check").stdout.splitlines()
    assert summary == f"{len(filters)} filters, nothing wrong: {gpus}"
    assert head.split("  ")[0] == "pool"
    assert [line.split() for line in pools] == [
        ["gpu", "288", "34", "288", "0", "0", "174"],
        ["pairs", "8", "1", "6", "0", "59520", "0"],
        ["shared", "8", "1", "4", "0", "127680", "0"],
    ]
