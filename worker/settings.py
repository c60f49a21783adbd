"""What a worker is told, by its environment. Secrets come in files, never in variables."""

import math
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

__all__ = ["Settings", "SettingsError", "read_members"]


class SettingsError(ValueError):
    """The environment lacks something, or holds something unusable; says what, and what to set."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """url: AMQP URL with password. slots: jobs at a time, which is the prefetch.

    members: of a worker set, the queue of each filter; `queue` is the set's bell then, `filter` its name.
    priority: of the consumer; the broker serves the highest first. grace_s: seconds from stop to the
    end of the last job. shift_s: see `worker.shift`; None for a worker that stays.
    name: shown to the broker's operators. probe_port: of /readyz, /healthz, /metrics.
    longest_job_s: no job takes longer. shared: folder of the filter on a volume that all its workers
    mount, for checkpoints and for what is finished; None for neither.
    """

    filter: str
    queue: str
    url: str = field(repr=False)
    members: Mapping[str, str] = field(default_factory=dict)
    slots: int = 1
    priority: int = 0
    grace_s: float = 60.0
    shift_s: float | None = None
    heartbeat_s: int = 30
    name: str = field(default_factory=socket.gethostname)
    probe_port: int = 8080
    longest_job_s: float = math.inf
    shared: Path | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read SURGE_FILTER, _QUEUE, _MEMBERS, _SLOTS, _PRIORITY, _GRACE_S, _AMQP_URL_FILE, _PROBE_PORT,
        and where set _SHIFT_S, _LONGEST_JOB_S and _SHARED. Raises SettingsError.
        """
        with_shift = "SURGE_SHIFT_S" in environment
        longest, shared = environment.get("SURGE_LONGEST_JOB_S"), environment.get("SURGE_SHARED")
        return cls(
            filter=_text(environment, "SURGE_FILTER"),
            queue=_text(environment, "SURGE_QUEUE"),
            members=read_members(environment.get("SURGE_MEMBERS", "")),
            url=_file(environment, "SURGE_AMQP_URL_FILE"),
            slots=_number(environment, "SURGE_SLOTS", "1", least=1),
            priority=_number(environment, "SURGE_PRIORITY", "0", least=0),
            grace_s=_number(environment, "SURGE_GRACE_S", "60", least=1),
            shift_s=_number(environment, "SURGE_SHIFT_S", "", least=1) if with_shift else None,
            probe_port=_number(environment, "SURGE_PROBE_PORT", "8080", least=1),
            longest_job_s=_number(environment, "SURGE_LONGEST_JOB_S", "", least=1) if longest else math.inf,
            shared=Path(shared) / _text(environment, "SURGE_FILTER") if shared else None,
        )


def read_members(text: str) -> dict[str, str]:
    """Return the queue of each filter in `NAME=QUEUE,NAME=QUEUE`. Raises SettingsError."""
    pairs = [item.partition("=") for item in text.split(",") if item]
    if any(not name or not queue for name, _, queue in pairs):
        raise SettingsError(f"SURGE_MEMBERS is {text[:80]!r}: want filters and queues, NAME=QUEUE,NAME=QUEUE")
    return {name: queue for name, _, queue in pairs}


def _text(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set: a worker must know it; set it in the pod's env")
    return value


def _number(environment: Mapping[str, str], name: str, default: str, *, least: int) -> int:
    text = environment.get(name, default)
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise SettingsError(f"{name} is {text!r}: want a whole number of at least {least}")
    return int(text)


def _file(environment: Mapping[str, str], name: str) -> str:
    path = Path(_text(environment, name))
    try:
        text = path.read_text().strip()
    except OSError as error:
        raise SettingsError(
            f"{path} ({name}) cannot be read: {error.strerror}; mount the Secret there"
        ) from error
    if not text.startswith(("amqp://", "amqps://")):
        raise SettingsError(f"{path} ({name}) holds no amqp:// or amqps:// URL")
    return text
