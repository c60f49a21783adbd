"""What the fleet is told, in a JSON file."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Settings"]


class Settings(BaseModel):
    """kubeconfig, events: paths. seed: the same message takes the same time in every run of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kubeconfig: Path
    namespace: str
    events: Path
    metrics_port: int = Field(ge=1024, le=65535)
    seed: int = 0

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls.model_validate_json(path.read_text())
