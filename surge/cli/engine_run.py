"""One operation of the engine on one stack, through the Automation API."""

import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import IO, Any

import orjson
from pulumi._version import version as SDK_VERSION  # noqa: N812 -- a constant
from pulumi.automation import (
    CommandError,
    CommandResult,
    LocalWorkspace,
    OnOutput,
    OutputMap,
    PulumiCommand,
    Stack,
    StackNotFoundError,
    UpdateSummary,
)
from pulumi.automation._stack import StackInitMode  # of the public constructor, and exported nowhere
from pulumi.automation.errors import create_command_error

from surge.cli.interrupts import Interrupts
from surge.cli.stacks import checkout, is_kept_here, state_file
from surge.engine import BUNDLED, create_stack, pulumi_command

__all__ = [
    "EngineCommand",
    "clear_pending",
    "create_or_select",
    "edit_state",
    "is_empty",
    "latest",
    "open_workspace",
    "reason",
    "version_of",
]


class EngineCommand(PulumiCommand):
    """`pulumi` in a process group of its own; interrupts reach it through `interrupts` alone."""

    def __init__(self, environment: Mapping[str, str], interrupts: Interrupts) -> None:
        self.command = pulumi_command(environment)
        self.version = version_of(self.command)
        self._interrupts = interrupts

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: OnOutput | None = None,
        on_error: OnOutput | None = None,
    ) -> CommandResult:
        """Run `pulumi --non-interactive ARGS`; raises CommandError when it fails."""
        environment = {**os.environ, **additional_env, "PULUMI_AUTOMATION_API": "true"}
        with (
            subprocess.Popen(
                [self.command, "--non-interactive", *args],
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                process_group=0,
            ) as process,
            self._interrupts.passed_to(process.pid),
        ):
            assert process.stdout is not None  # noqa: S101 -- for the type checker
            assert process.stderr is not None  # noqa: S101
            errors = _Reader(process.stderr, on_error)
            output = _Reader(process.stdout, on_output)
            result = CommandResult(stdout=output.all(), stderr=errors.all(), code=process.wait())
        if result.code != 0:
            raise create_command_error(result)
        return result


class EngineStack(Stack):
    """A stack whose operations end with the engine's own.

    The SDK would run the CLI three times more for outputs and history that nobody here reads.
    """

    def outputs(self) -> OutputMap:
        return {}

    def info(self, show_secrets: bool = True) -> UpdateSummary:
        now = datetime.now(UTC)
        return UpdateSummary("update", now, message="", environment={}, config={}, result="succeeded")


@cache
def version_of(command: str) -> Any:
    """The CLI's version as the SDK has it; of the bundled one, the SDK's own.

    Another is asked once, and not by each of many stacks: half a second, a process of its own.
    """
    if Path(command) == checkout() / BUNDLED:
        return SDK_VERSION
    return PulumiCommand(root=str(Path(command).parent.parent)).version


class _Reader:
    """Reads a stream to its end in a thread, so that neither of two pipes fills up."""

    def __init__(self, stream: IO[str], tell: Callable[[str], Any] | None) -> None:
        self._lines: list[str] = []
        self._stream, self._tell = stream, tell
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def all(self) -> str:
        # A join without a limit is not woken by a signal that another thread got.
        while self._thread.is_alive():
            self._thread.join(0.2)
        return "\n".join(self._lines)

    def _read(self) -> None:
        for line in self._stream:
            self._lines.append(line.rstrip())
            if self._tell is not None:
                self._tell(self._lines[-1])


class EngineWorkspace(LocalWorkspace):
    """A shard is named in each command and never selected: plain `pulumi` means the stack it belongs to."""

    def __init__(self, *, shard: bool, **options: Any) -> None:
        super().__init__(**options)
        self._shard = shard

    def select_stack(self, stack_name: str) -> None:
        if not (self._shard and is_kept_here(Path(self.work_dir), stack_name)):
            super().select_stack(stack_name)


def open_workspace(
    root: Path, environment: Mapping[str, str], interrupts: Interrupts, *, shard: bool = False
) -> LocalWorkspace:
    return EngineWorkspace(
        shard=shard,
        work_dir=str(root),
        env_vars=dict(environment),
        secrets_provider="passphrase",
        pulumi_command=EngineCommand(environment, interrupts),
    )


def create_or_select(root: Path, name: str, workspace: LocalWorkspace) -> tuple[Stack, bool]:
    """Return the stack, and whether it is new. Raises CommandError, CalledProcessError."""
    try:
        return EngineStack(name, workspace, StackInitMode.SELECT), False
    except StackNotFoundError:
        create_stack(root, name, workspace.env_vars)
        return EngineStack(name, workspace, StackInitMode.SELECT), True


def clear_pending(root: Path, name: str, workspace: LocalWorkspace) -> int:
    """Forget the operations that a killed update left open; return how many.

    What they had made is found again: processes by their marker, objects by their names.
    """
    if not _pending(state_file(root, name)):
        return 0
    found: list[Any] = []
    edit_state(root, name, workspace, lambda deployment: found.extend(_take_pending(deployment)))
    return len(found)


def edit_state(
    root: Path, name: str, workspace: LocalWorkspace, change: Callable[[dict[str, Any]], object]
) -> None:
    """Let `change` edit the recorded deployment of a stack in place. Raises CommandError.

    The state passes through a file of mode 0600, and its secrets stay encrypted.
    """
    command, env = workspace.pulumi_command, workspace.env_vars
    state = json.loads(command.run(["stack", "export", "--stack", name], str(root), env).stdout)
    change(state["deployment"])
    with tempfile.NamedTemporaryFile("w", dir=root / ".surge", suffix=".json") as file:
        json.dump(state, file)
        file.flush()
        command.run(["stack", "import", "--stack", name, "--file", file.name], str(root), env)


def _take_pending(deployment: dict[str, Any]) -> list[Any]:
    return deployment.pop("pending_operations", None) or []


def reason(error: CommandError | subprocess.CalledProcessError) -> str:
    """Return what the engine said last on stderr; "" when it said nothing."""
    if isinstance(error, subprocess.CalledProcessError):
        return (error.stderr or "").strip()
    _, _, stderr = str(error).partition("\n stderr: ")
    return stderr.strip()


def is_empty(root: Path, name: str) -> bool:
    """Whether the stack has no resource but itself; False when its state cannot be read."""
    try:
        resources = latest(state_file(root, name)).get("resources") or []
    except ValueError:
        return False
    return all(item.get("type") == "pulumi:pulumi:Stack" for item in resources)


def _pending(path: Path) -> bool:
    try:
        return bool(latest(path).get("pending_operations"))
    except ValueError:
        return False


def latest(path: Path) -> dict[str, Any]:
    """Return the newest checkpoint in a state file; raises ValueError when it is damaged."""
    try:
        state = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    latest = state.get("checkpoint", {}).get("latest") if isinstance(state, dict) else None
    if latest is not None and not isinstance(latest, dict):
        raise ValueError(f"{path} is no state of the engine")
    return latest or {}
