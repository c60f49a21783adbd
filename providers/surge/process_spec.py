"""The inputs of surge:local:Process, checked; placeholders; and its section for the supervisor."""

import json
import os
import re
import shlex
import signal
import sys
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from . import run_program
from .orphans import PROCESS_MARKER

__all__ = ["ProcessSpec", "Ready"]

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
RESERVED = {"logs"}

# What ends sooner has failed to start and is not called running; what ends later is started again at once.
# An update waits for the readiness probe, and for this only where there is none.
START_S = 3
# Waits between failing starts grow by a second each: 1 + 2 + ... + 20 = 210 s until it counts as failed.
START_RETRIES = 20
AUTORESTART = {"always": "true", "on-failure": "unexpected", "never": "false"}


def _absolute(path: str) -> str:
    if not path.startswith("/") or os.path.normpath(path) != path or path == "/":
        raise ValueError("must be an absolute path without . or .. in it, below the root directory")
    if re.search(r"[\n;]", path):
        raise ValueError("must not hold a semicolon or a line end: the supervisor's file could not name it")
    return path


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise ValueError(f"{path} leaves the process's folder; give a path below it")
    return str(pure)


def _name(name: str) -> str:
    if not NAME.fullmatch(name) or name in RESERVED:
        raise ValueError("must be lower case letters, digits, '.', '_' or '-', and not 'logs'")
    return name


def _signal(name: str) -> str:
    if f"SIG{name}" not in signal.Signals.__members__:
        raise ValueError("is no signal; such as TERM, INT or QUIT")
    return name


Files = dict[Annotated[str, AfterValidator(_inside)], str]


class Ready(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    http: Annotated[str, Field(pattern=r"^https?://[^/]+")] | None = None
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    expect_status: int = 200
    tcp: Annotated[str, Field(pattern=r"^[^:]+:\d{1,5}$")] | None = None
    exec: Annotated[list[str], Field(min_length=1)] | None = None
    timeout_s: Annotated[float, Field(gt=0)] = 60
    interval_s: Annotated[float, Field(ge=0.05)] = 0.2

    @model_validator(mode="after")
    def _one_probe(self) -> "Ready":
        if sum(probe is not None for probe in (self.http, self.tcp, self.exec)) != 1:
            raise ValueError("needs exactly one of http, tcp and exec")
        return self


class ProcessSpec(BaseModel):
    """directory and folder are absolute; seconds are wall seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    directory: Annotated[str, AfterValidator(_absolute)]
    process: Annotated[str, AfterValidator(_name)]
    command: Annotated[list[str], Field(min_length=1)]
    environment: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = {}
    files: Files = {}
    live_files: Files = {}
    ports: list[Annotated[int, Field(gt=0, lt=65536)]] = []
    ready: Ready | None = None
    restart: Literal["always", "on-failure", "never"] = "always"
    stop_signal: Annotated[str, AfterValidator(_signal)] = "TERM"
    stop_timeout_s: Annotated[int, Field(gt=0)] = 20
    log_max_bytes: Annotated[int, Field(ge=1000)] = 10_000_000

    @model_validator(mode="after")
    def _files_once(self) -> "ProcessSpec":
        if both := sorted(self.files.keys() & self.live_files.keys()):
            raise ValueError(f"{', '.join(both)}: in files and in live_files; keep it in one of them")
        return self

    @property
    def folder(self) -> str:
        return f"{self.directory}/{self.process}"

    @property
    def log(self) -> str:
        return f"{self.directory}/logs/{self.process}.log"

    @property
    def marker(self) -> str:
        return f"{self.directory}:{self.process}"

    def filled(self, value: Any) -> Any:
        """`value` with {dir} and {root} replaced in every text of it."""
        if isinstance(value, str):
            return value.replace("{dir}", self.folder).replace("{root}", self.directory)
        if isinstance(value, dict):
            return {key: self.filled(item) for key, item in value.items()}
        return [self.filled(item) for item in value] if isinstance(value, list) else value

    def full_environment(self) -> dict[str, str]:
        return {**self.filled(self.environment), PROCESS_MARKER: self.marker}

    def program(self) -> str:
        """What run_program reads: argv, environment, working directory."""
        return json.dumps(
            {
                "command": self.filled(self.command),
                "environment": self.full_environment(),
                "directory": self.folder,
            }
        )

    def section(self, program_file: str) -> str:
        """Its section in the supervisor's configuration; holds no secret."""
        command = shlex.join([sys.executable, "-I", "-S", str(Path(run_program.__file__)), program_file])
        settings = {
            "command": _escaped(command),
            "autostart": "false",
            "autorestart": AUTORESTART[self.restart],
            "exitcodes": "0",
            "startsecs": START_S,
            "startretries": 0 if self.restart == "never" else START_RETRIES,
            "stopsignal": self.stop_signal,
            "stopwaitsecs": self.stop_timeout_s,
            "stopasgroup": "true",
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": _escaped(self.log),
            "stdout_logfile_maxbytes": self.log_max_bytes,
            "stdout_logfile_backups": 2,
        }
        lines = [f"{key}={value}" for key, value in settings.items()]
        return "\n".join([f"[program:{self.process}]", *lines, ""])


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
