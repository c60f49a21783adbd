"""This machine as the host of one local cluster: its directory, ports, clock and certificates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components.clusters.local_pki import LocalPki
from providers.surge.resources import Process, ProcessArgs, Ready
from surge.policy.ports import Ports
from surge.policy.timescale import TimeScale

__all__ = ["LocalHost"]


@dataclass(frozen=True, kw_only=True)
class LocalHost:
    """name: the cluster's; directory: absolute; tools: where the built binaries are; python: the interpreter
    and source: the folder that our own processes run from."""

    name: str
    directory: str
    tools: str
    python: str
    source: str
    ports: Ports
    scale: TimeScale
    pki: LocalPki

    def process(
        self,
        name: str,
        command: Sequence[str],
        *,
        opts: pulumi.ResourceOptions,
        listens: Sequence[str] = (),
        ready: Ready | None = None,
        files: Mapping[str, pulumi.Input[str]] | None = None,
        live_files: Mapping[str, pulumi.Input[str]] | None = None,
        environment: Mapping[str, pulumi.Input[str]] | None = None,
        stop_timeout_s: int = 20,
    ) -> Process:
        """Keep `command` running. listens: names of its ports in Ports; files change only with a restart,
        live_files without one."""
        return Process(
            f"{self.name}-{name}",
            ProcessArgs(
                directory=self.directory,
                process=name,
                command=list(command),
                environment=dict(environment or {}),
                files=dict(files or {}),
                live_files=dict(live_files or {}),
                ports=[self.ports.by_service[service] for service in listens],
                ready=ready,
                stop_timeout_s=stop_timeout_s,
            ),
            opts=opts,
        )

    def module(self, module: str, *arguments: str) -> list[str]:
        """The command line of one of our own Python modules."""
        return [self.python, "-m", module, *arguments]

    @property
    def module_environment(self) -> dict[str, pulumi.Input[str]]:
        return {
            "PYTHONPATH": self.source,
            "PYTHONUNBUFFERED": "1",
            "PYTHONPYCACHEPREFIX": f"{self.source}/.tools/pycache",
        }
