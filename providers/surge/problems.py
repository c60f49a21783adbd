"""The errors that reach the user: what was seen, why it matters, what to do next."""

from typing import Any

__all__ = ["PartialError", "ProblemError"]


class ProblemError(Exception):
    """Nothing was made; the text is for the user."""


class PartialError(ProblemError):
    """Something was made and must be kept in the state, so that a later up or destroy can go on from it."""

    def __init__(self, message: str, identifier: str, properties: dict[str, Any]) -> None:
        super().__init__(message)
        self.identifier = identifier
        self.properties = properties
