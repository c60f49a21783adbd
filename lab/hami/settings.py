"""What HAMi's stand-in is told, in a JSON file."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Settings"]


class Settings(BaseModel):
    """kubeconfig: path. Times are wall seconds.

    acknowledge_s: what the device plugin takes. lock_expires_s: when a node that nobody acknowledges may be
    bound to again. patience_s: how long a pod of a pod group waits for a node's lock; others do not wait.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kubeconfig: Path
    port: int = Field(ge=1024, le=65535)
    acknowledge_s: float = Field(default=0.02, ge=0)
    lock_expires_s: float = Field(default=300, gt=0)
    patience_s: float = Field(default=28, ge=0)

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls.model_validate_json(path.read_text())
