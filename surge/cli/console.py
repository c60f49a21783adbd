"""Where commands print, and how they say no."""

from rich.console import Console

__all__ = ["Refusal", "errors", "out"]

out = Console(highlight=False, soft_wrap=True)
errors = Console(highlight=False, soft_wrap=True, stderr=True)


class Refusal(Exception):  # noqa: N818 -- it is an answer, not a fault of ours
    """A command cannot go on.

    lines: what was seen, why it matters, and the exact next command; code: the exit code.
    """

    def __init__(self, *lines: str, code: int = 1) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.code = code
