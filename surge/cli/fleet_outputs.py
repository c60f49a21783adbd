"""What the stack itself tells of itself, asked for while the files of its fleet are read."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from surge.cli.engine_run import version_of
from surge.cli.notes import FACTS, note, noted, state_digest
from surge.cli.stacks import is_kept_here
from surge.engine import engine_environment, pulumi_command
from surge.stack_outputs import RunningStack, running_stack

__all__ = ["Facts", "Outputs"]


@dataclass(frozen=True)
class Facts:
    """What shards are made from: a digest of the kubeconfig, where the saturation server is. No secret."""

    kubeconfig: str
    saturation: Mapping[str, Any]

    @classmethod
    def of(cls, running: RunningStack) -> Self:
        return cls(sha256(running.kubeconfig.encode()).hexdigest(), dict(running.fleet["saturation"]))


class Outputs:
    """The engine takes as long to tell them as we for the files: an update of one filter need not wait twice.

    Of a state that has not changed since, byte for byte, the facts are remembered. A stack that is not there
    is asked when somebody wants to know.
    """

    def __init__(self, root: Path, stack: str) -> None:
        self._root, self._stack = root, stack
        self._threads = ThreadPoolExecutor(2)
        self._answer: Future[RunningStack] | None = None
        self._asked_of: str | None = None
        self._facts = _facts(noted(root, stack, FACTS))
        if is_kept_here(root, stack):
            # Every operation needs it, and an engine of the user's own has to be asked.
            self._threads.submit(lambda: version_of(pulumi_command(engine_environment(root))))
            if self._facts is None:
                self.ask()

    def ask(self) -> Future[RunningStack]:
        """Ask anew, of a stack that was updated."""
        self._facts, self._asked_of = None, state_digest(self._root, self._stack)
        self._answer = self._threads.submit(running_stack, self._root, self._stack)
        return self._answer

    def get(self) -> RunningStack:
        """Raises StackNotRunningError, EngineError."""
        return (self._answer or self.ask()).result()

    def facts(self) -> Facts:
        """Raises StackNotRunningError, EngineError."""
        if self._facts is None:
            self._facts = Facts.of(self.get())
            state = state_digest(self._root, self._stack)
            if state == self._asked_of:
                note(self._root, self._stack, FACTS, asdict(self._facts), state=state)
        return self._facts


def _facts(content: Any) -> Facts | None:
    try:
        return Facts(**content)
    except TypeError:
        return None  # nothing, or what another version noted
