"""What the engine is asked before an operation begins: as little as possible, for each stack of a fleet."""

import threading
import time
from pathlib import Path

import pytest

from surge.cli import fleet_outputs
from surge.cli.engine_run import EngineCommand, EngineWorkspace
from surge.cli.fleet_outputs import Outputs
from surge.cli.interrupts import Interrupts
from surge.cli.stacks import state_file
from surge.stack_outputs import StackNotRunningError


class Engine:
    """A `pulumi` that notes what it is told and does nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._calls = root / "calls"
        command = root / "bin" / "pulumi"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\necho "$@" >> {self._calls}\necho v3.259.0\n')
        command.chmod(0o755)
        self.environment = {"PATH": str(command.parent)}

    def command(self) -> EngineCommand:
        return EngineCommand(self.environment, Interrupts())

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines()

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


def test_a_shard_that_is_there_is_never_selected(engine):
    recorded(engine.root, "local-shard-00")
    assert engine.select("local-shard-00", shard=True) == []


def test_a_shard_that_is_new_and_a_stack_of_its_own_are_selected(engine):
    recorded(engine.root, "local")
    for stack, shard in (("local-shard-01", True), ("local", False)):
        assert engine.select(stack, shard=shard) == [f"--non-interactive stack select --stack {stack}"]


@pytest.fixture
def answers(engine, monkeypatch) -> list[str]:
    """What the stack itself is asked, by name; its outputs are their number."""
    asked: list[str] = []

    def running_stack(_root: Path, stack: str) -> int:
        asked.append(stack)
        return len(asked)

    monkeypatch.setattr(fleet_outputs, "running_stack", running_stack)
    monkeypatch.setattr(fleet_outputs, "engine_environment", lambda _root: engine.environment)
    return asked


def test_outputs_are_asked_for_once_and_anew_after_an_update(engine, answers):
    recorded(engine.root, "local")
    outputs = Outputs(engine.root, "local")
    assert [outputs.get(), outputs.get()] == [1, 1]
    outputs.ask()
    assert outputs.get() == 2


def test_an_update_begins_when_nothing_is_asked_any_more(engine, monkeypatch):
    recorded(engine.root, "local")
    ended = threading.Event()

    def slow(_root: Path, _stack: str) -> None:
        time.sleep(0.2)
        ended.set()
        raise StackNotRunningError

    monkeypatch.setattr(fleet_outputs, "running_stack", slow)
    monkeypatch.setattr(fleet_outputs, "engine_environment", lambda _root: engine.environment)
    outputs = Outputs(engine.root, "local")
    outputs.wait()
    assert ended.is_set()
    with pytest.raises(StackNotRunningError):
        outputs.get()


def test_a_stack_that_is_not_there_is_not_asked_before_somebody_wants_to_know(engine, answers):
    outputs = Outputs(engine.root, "local")
    assert answers == []
    assert (outputs.get(), answers) == (1, ["local"])
