"""What the process is told, in a JSON file; relative paths start at its folder."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Settings"]

Seconds = Annotated[float, Field(gt=0, le=600)]


class Settings(BaseModel):
    """kubeconfig: of a user that may list HPAs and pods of `namespace`, and patch pods there.

    management: URLs of the broker's management listeners, each knows all workers. credentials: file with
    one line, user:password; the user has the tag `monitoring`. ca: of the management listeners.
    look_s: between two looks at the HPAs, whose word changes once a sync. tick_s: between two looks at
    the workers while a scale-in is near. patches_per_s: at most, over all filters. leave: filters whose
    pods are not touched. Times are wall seconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kubeconfig: Path
    namespace: str
    management: Annotated[tuple[str, ...], Field(min_length=1)]
    vhost: str
    credentials: Path
    ca: Path | None = None
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int, Field(ge=1024, le=65535)]
    look_s: Seconds = 15
    tick_s: Seconds = 1
    patches_per_s: Annotated[float, Field(gt=0, le=1_000)] = 20
    leave: tuple[str, ...] = ()

    @classmethod
    def read(cls, file: Path) -> Self:
        """Raises OSError, and pydantic.ValidationError with every problem."""
        found = cls.model_validate_json(file.read_text())
        at = file.absolute().parent
        return found.model_copy(
            update={
                "kubeconfig": at / found.kubeconfig,
                "credentials": at / found.credentials,
                "ca": found.ca and at / found.ca,
            }
        )
