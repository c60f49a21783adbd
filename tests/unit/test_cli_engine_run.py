"""What the engine is asked before an operation begins: as little as possible, for each stack of a fleet."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from surge.cli import engine_run, fleet_outputs
from surge.cli.engine_run import EngineCommand, EngineWorkspace
from surge.cli.fleet_outputs import Outputs
from surge.cli.interrupts import Interrupts
from surge.cli.notes import FACTS, note, state_digest
from surge.cli.stacks import state_file
from surge.stack_outputs import StackNotRunningError, running_stack


class Engine:
    """A `pulumi` that notes what it is told and does nothing."""

    def __init__(self, root: Path, folder: str = "bin") -> None:
        self.root = root
        self._calls = root / "calls"
        command = root / folder / "pulumi"
        command.parent.mkdir(parents=True)
        answers = """case $1 in version) echo v3.259.0 ;; *) echo '{}' ;; esac"""
        command.write_text(f'#!/bin/sh\necho "$@" >> {self._calls}\n{answers}\n')
        command.chmod(0o755)
        self.environment = {"PATH": str(command.parent)}

    def command(self) -> EngineCommand:
        return EngineCommand(self.environment, Interrupts())

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []

    def select(self, stack: str, *, shard: bool) -> list[str]:
        """What it is told to select the stack."""
        command = self.command()
        before = len(self.calls)
        options = {"env_vars": {}, "secrets_provider": "passphrase", "pulumi_command": command}
        EngineWorkspace(shard=shard, work_dir=str(self.root), **options).select_stack(stack)
        return self.calls[before:]


@pytest.fixture
def engine(tmp_path, monkeypatch) -> Engine:
    monkeypatch.delenv("PULUMI_BACKEND_URL", raising=False)
    return Engine(tmp_path)


def recorded(root: Path, stack: str) -> None:
    file = state_file(root, stack)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{}")


def test_the_engine_is_asked_for_its_version_once(engine):
    assert {str(engine.command().version) for _ in range(3)} == {"3.259.0"}
    assert engine.calls == ["version"]


def test_the_bundled_engine_has_the_version_of_the_sdk_and_is_not_asked(tmp_path, monkeypatch):
    engine = Engine(tmp_path, folder=".tools/bin")
    monkeypatch.setattr(engine_run, "checkout", lambda: tmp_path)
    assert str(engine.command().version) == version("pulumi")
    assert engine.calls == []


def test_a_shard_that_is_there_is_never_selected(engine):
    recorded(engine.root, "local-shard-00")
    assert engine.select("local-shard-00", shard=True) == []


def test_a_shard_that_is_new_and_a_stack_of_its_own_are_selected(engine):
    recorded(engine.root, "local")
    for stack, shard in (("local-shard-01", True), ("local", False)):
        assert engine.select(stack, shard=shard) == [f"--non-interactive stack select --stack {stack}"]


@dataclass(frozen=True)
class Answer:
    kubeconfig: str
    fleet: Mapping[str, Any] = field(default_factory=lambda: {"saturation": {}})


@pytest.fixture
def answers(engine, monkeypatch) -> list[str]:
    """What the stack itself is asked, by name; each answer is another."""
    asked: list[str] = []

    def answer(_root: Path, stack: str) -> Answer:
        asked.append(stack)
        return Answer(f"kubeconfig {len(asked)}")

    monkeypatch.setattr(fleet_outputs, "running_stack", answer)
    monkeypatch.setattr(fleet_outputs, "engine_environment", lambda _root: engine.environment)
    return asked


def test_outputs_are_asked_for_once_and_anew_after_an_update(engine, answers):
    recorded(engine.root, "local")
    outputs = Outputs(engine.root, "local")
    assert outputs.get() is outputs.get()
    outputs.ask()
    assert (outputs.get().kubeconfig, answers) == ("kubeconfig 2", ["local"] * 2)


def test_a_stack_that_is_not_there_is_not_asked_before_somebody_wants_to_know(engine, answers):
    outputs = Outputs(engine.root, "local")
    assert answers == []
    assert (outputs.get().kubeconfig, answers) == ("kubeconfig 1", ["local"])


def facts_file(engine: Engine) -> Path:
    return engine.root / ".surge" / "facts-local"


def test_facts_are_remembered_for_as_long_as_the_state_is_the_same(engine, answers):
    recorded(engine.root, "local")
    facts = Outputs(engine.root, "local").facts()
    assert "kubeconfig 1" not in facts_file(engine).read_text()
    assert (Outputs(engine.root, "local").facts(), answers) == (facts, ["local"])
    state_file(engine.root, "local").write_text("another")
    assert Outputs(engine.root, "local").facts() != facts
    assert len(answers) == 2


def test_facts_of_a_state_that_changed_meanwhile_are_not_remembered(engine, answers):
    recorded(engine.root, "local")
    outputs = Outputs(engine.root, "local")
    state_file(engine.root, "local").write_text("another")
    assert outputs.facts()
    assert not facts_file(engine).exists()


@pytest.mark.parametrize(
    "text",
    ["", "1", "[]", "{}", '["another", {}]', '{"state": 1, "kubeconfig": "a"}', '{"kubeconfig": "a"}'],
)
def test_a_note_that_is_none_is_asked_for_anew(engine, answers, text):
    recorded(engine.root, "local")
    facts_file(engine).write_text(text)
    assert (Outputs(engine.root, "local").facts().saturation, answers) == ({}, ["local"])


@pytest.mark.parametrize("content", [{"kubeconfig": "a"}, {"another": 1}, [], 1, None])
def test_what_another_version_noted_is_asked_for_anew(engine, answers, content):
    recorded(engine.root, "local")
    note(engine.root, "local", FACTS, content, state=state_digest(engine.root, "local"))
    assert (Outputs(engine.root, "local").facts().saturation, answers) == ({}, ["local"])


def test_outputs_are_read_and_nothing_is_written(engine, monkeypatch):
    monkeypatch.setattr("surge.stack_outputs.engine_environment", lambda _root: engine.environment)
    before = set(engine.root.iterdir())
    with pytest.raises(StackNotRunningError, match="surge up local"):
        running_stack(engine.root, "local")
    assert engine.calls == ["--non-interactive stack output --json --show-secrets --stack local"]
    assert set(engine.root.iterdir()) - before == {engine.root / "calls"}
