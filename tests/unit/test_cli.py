"""The command line as a user meets it: help, refusals, exit codes, the generated reference."""

import errno
import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from providers.surge.folders import claim
from surge.cli.app import app
from surge.cli.down import _confirm
from surge.cli.reference import reference
from surge.cli.stacks import cluster_directory, state_file
from surge.engine import EngineError
from surge.stack_outputs import StackNotRunningError

ROOT = Path(__file__).parents[2]
COMMANDS = ("up", "down", "status", "watch", "preview", "refresh", "env", "check", "version", "filter")


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_help_lists_every_command():
    result = run("--help")
    assert result.exit_code == 0
    for name in COMMANDS:
        assert f" {name} " in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name):
    result = run(name, "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.output


@pytest.mark.parametrize("command", ["up", "down", "status", "watch", "preview", "refresh", "env", "check"])
def test_an_unknown_stack_is_refused_with_the_nearest_name_and_the_list(command):
    result = run(command, "lokal")
    assert result.exit_code == 1
    assert 'there is no stack "lokal", did you mean "local"?' in result.stderr
    assert "Stacks here: aws, local, onprem" in result.stderr
    assert "Traceback" not in result.output


def test_a_stack_that_never_was_is_nothing_to_destroy():
    result = run("down", "onprem")
    assert result.exit_code == 0
    assert "has never been up" in result.stderr


def test_a_stack_of_value_goes_only_when_its_name_is_typed():
    _confirm("onprem", lambda _: "onprem")
    with pytest.raises(Exception, match="nothing has been destroyed"):
        _confirm("onprem", lambda _: "yes")


def test_the_catalogue_is_listed_and_its_json_keeps_the_files_own_keys():
    assert "ghibli-ratio" in run("filter", "list").stdout
    document = json.loads(run("filter", "list", "--json").stdout)
    assert document["ghibli"]["service-s"] == 8
    assert document["beard"]["class"] == "scale-to-zero"


def test_one_filter_is_shown_with_what_its_class_fills_in():
    shown = json.loads(run("filter", "show", "beard", "--json").stdout)
    assert (shown["min"], shown["queue"]) == (0, "filter.beard")
    wrong = run("filter", "show", "gibli")
    assert wrong.exit_code == 1
    assert 'did you mean "ghibli"?' in wrong.stderr


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder of its own with the settings and the catalogue of this one."""
    for name in ("Pulumi.local.yaml", "filters.yaml", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    for module in ("catalogue", "updates", "down", "status", "environment"):
        monkeypatch.setattr(f"surge.cli.{module}.checkout", lambda: tmp_path)
    return tmp_path


def test_check_reports_the_problems_of_all_files_at_once(checkout):
    settings, catalogue = checkout / "Pulumi.local.yaml", checkout / "filters.yaml"
    catalogue.write_text(catalogue.read_text().replace("service-s: 2\n", "service: 2\n"))
    settings.write_text(settings.read_text().replace("nodes: 36", "nods: 36"))
    (checkout / "Pulumi.other.yaml").write_text(
        "config:\n  surge:settings: {stack-kind: local, cluster: {name: b}}\n"
    )
    result = run("check")
    assert result.exit_code == 1
    assert 'did you mean "nodes"?' in result.stderr
    assert 'did you mean "service-s"?' in result.stderr


def test_up_refuses_a_wrong_catalogue_before_anything_is_made(checkout):
    (checkout / "filters.yaml").write_text("filters: {}\n")
    result = run("up")
    assert result.exit_code == 1
    assert "at least one filter" in result.stderr
    assert not (checkout / ".surge").exists()


def test_up_refuses_without_tools_and_names_the_command_that_builds_them(checkout, monkeypatch):
    monkeypatch.setenv("PATH", str(checkout))
    result = run("up")
    assert result.exit_code == 1
    assert "make tools" in result.stderr
    assert "Nothing has been started or changed." in result.stderr
    assert not (checkout / ".surge").exists()


def test_status_of_a_stack_that_is_not_up_says_how_to_start_it(checkout):
    result = run("status")
    assert result.exit_code == 2
    assert "surge up local" in result.stderr


def test_a_file_where_a_folder_should_be_is_told_in_one_line(checkout, monkeypatch):
    monkeypatch.delenv("PULUMI_BACKEND_URL", raising=False)
    engine = checkout / ".tools" / "bin" / "pulumi"
    engine.parent.mkdir(parents=True)
    engine.touch(0o755)
    (checkout / ".surge").write_text("not ours")
    result = run("env")
    [line] = result.stderr.splitlines()
    assert result.exit_code == 1
    assert line.startswith(
        f"{checkout}/.surge/state: Not a directory. Look at `ls -ld {checkout}/.surge/state`"
    )


@pytest.mark.parametrize("error", [EngineError("make tools"), StackNotRunningError("surge up local")])
def test_an_engine_that_is_not_there_is_told_with_the_next_command(checkout, monkeypatch, error):
    def raises(*_: object) -> None:
        raise error

    monkeypatch.setattr("surge.cli.catalogue.read_settings", raises)
    result = run("filter", "list")
    assert (result.exit_code, result.stderr.strip()) == (1, str(error))


def test_down_deletes_no_folder_in_which_somebody_works(checkout):
    claim(cluster_directory(checkout, "local"))
    with subprocess.Popen(["sleep", "60"], cwd=cluster_directory(checkout, "local")) as shell:
        result = run("down")
        shell.kill()
    assert result.exit_code == 1
    assert f"sleep, process {shell.pid}" in result.stderr
    assert "Nothing has been stopped or deleted. Then again: surge down local" in result.stderr
    assert cluster_directory(checkout, "local").exists()


def test_down_sweeps_where_a_full_disk_keeps_the_engine_from_starting(checkout, monkeypatch):
    settings = checkout / "Pulumi.local.yaml"
    settings.write_text(settings.read_text().replace("base-port: 21000", "base-port: 22650"))
    state_file(checkout, "local").parent.mkdir(parents=True)
    state_file(checkout, "local").write_text("{}")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for module in ("operation", "stacks"):
        monkeypatch.setattr(f"surge.cli.{module}.engine_environment", full)
    result = run("down")
    assert (result.exit_code, (checkout / ".surge").exists()) == (0, False)
    assert "No space left on device" in result.stderr
    assert "22650 to 22689 and no file but the tool cache .tools/ and the reports in build/" in result.stdout


def test_the_reference_in_docs_is_current():
    assert (ROOT / "docs" / "cli.md").read_text() == reference(), (
        "docs/cli.md is stale: .tools/venv/bin/python -m surge.cli.reference > docs/cli.md"
    )
