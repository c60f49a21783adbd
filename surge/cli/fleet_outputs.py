"""What the stack itself tells of itself, asked for while the files of its fleet are read."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from surge.cli.engine_run import checked
from surge.cli.stacks import is_kept_here
from surge.engine import engine_environment, pulumi_command
from surge.stack_outputs import RunningStack, running_stack

__all__ = ["Outputs"]


class Outputs:
    """The engine takes as long to tell them as we for the files: an update of one filter need not wait twice.

    A stack that is not there is asked when somebody wants to know.
    """

    def __init__(self, root: Path, stack: str) -> None:
        self._root, self._stack = root, stack
        self._thread = ThreadPoolExecutor(1)
        self._answer: Future[RunningStack] | None = None
        if is_kept_here(root, stack):
            self.ask()

    def ask(self) -> Future[RunningStack]:
        """Ask anew, of a stack that was updated."""
        self._answer = self._thread.submit(self._ask)
        return self._answer

    def get(self) -> RunningStack:
        """Raises StackNotRunningError, EngineError."""
        return (self._answer or self.ask()).result()

    def _ask(self) -> RunningStack:
        checked(pulumi_command(engine_environment(self._root)))
        return running_stack(self._root, self._stack)
