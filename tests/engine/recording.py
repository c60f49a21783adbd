"""An engine for tests that records what a program asks for, and refuses what the real one would."""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pulumi.runtime import mocks, rpc
from pulumi.runtime.proto import resource_pb2

__all__ = ["Recorded", "RecordingMonitor", "record"]

TOKEN = re.compile(r"^(surge:[a-z]+:[A-Z]\w+|pulumi:(providers:\w+|pulumi:Stack)|\w+:[\w./-]+:\w+)$")


@dataclass(frozen=True)
class Recorded:
    """One resource as it was registered. inputs: camelCase, as on the wire."""

    urn: str
    token: str
    name: str
    parent: str
    custom: bool
    inputs: dict[str, Any]
    dependencies: list[str]
    provider: str
    deleted_with: str
    ignored: list[str]


@dataclass
class RecordingMonitor:
    """What `record` returns. outputs: what the stack and the components registered, by URN."""

    resources: dict[str, Recorded] = field(default_factory=dict)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def named(self, token: str, name: str) -> Recorded:
        [found] = [item for item in self.resources.values() if (item.token, item.name) == (token, name)]
        return found

    def of(self, token: str) -> list[Recorded]:
        return [item for item in self.resources.values() if item.token == token]


class _Mocks(mocks.Mocks):
    def __init__(self, references: Mapping[str, Any]) -> None:
        self._references = references

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        made: dict[str, Any] = dict(args.inputs)
        if args.typ == "pulumi:pulumi:StackReference":
            made["outputs"] = self._references[args.inputs["name"]]
        if args.typ.startswith("random:"):
            made["result"] = f"{args.name}-result"
        if args.typ.startswith("surge:pki:"):
            made |= {"certificate": f"{args.name} certificate", "private_key": f"{args.name} key"}
        return f"{args.name}-id", made

    def call(self, args: mocks.MockCallArgs) -> dict[str, Any]:
        raise AssertionError(f"no invoke expected, got {args.token}")


class _Monitor(mocks.MockMonitor):
    def __init__(self, seen: RecordingMonitor, given: _Mocks) -> None:
        super().__init__(given)
        self._seen = seen

    def RegisterResource(self, request: resource_pb2.RegisterResourceRequest) -> Any:  # noqa: N802 -- gRPC's name
        response = super().RegisterResource(request)
        if not TOKEN.match(request.type):
            raise AssertionError(f"{request.type} is no type token")
        if response.urn in self._seen.resources:
            raise AssertionError(f"duplicate URN {response.urn}: the real engine would refuse the program")
        self._seen.resources[response.urn] = Recorded(
            urn=response.urn,
            token=request.type,
            name=request.name,
            parent=request.parent,
            custom=request.custom,
            inputs=rpc.deserialize_properties(request.object, keep_unknowns=True),
            dependencies=list(request.dependencies),
            provider=request.provider,
            deleted_with=request.deletedWith,
            ignored=list(request.ignoreChanges),
        )
        return response

    def RegisterResourceOutputs(self, request: resource_pb2.RegisterResourceOutputsRequest) -> Any:  # noqa: N802
        told = rpc.deserialize_properties(request.outputs, keep_unknowns=True)
        self._seen.outputs[request.urn] = told
        return super().RegisterResourceOutputs(request)


def record(
    program: Callable[[], object],
    *,
    project: str = "surge",
    stack: str = "test",
    references: Mapping[str, Any] | None = None,
) -> RecordingMonitor:
    """Run `program` to its end, every registration and every apply, and return what it asked for.

    references: outputs of other stacks, by full name. Raises what the program raised, also inside an apply.
    """
    seen, given = RecordingMonitor(), _Mocks(references or {})
    # The SDK takes the thread's current loop, and there is none any more after an asyncio.run().
    asyncio.set_event_loop(asyncio.new_event_loop())
    mocks.set_mocks(
        given,
        project=project,
        stack=stack,
        organization="organization",
        preview=False,
        monitor=_Monitor(seen, given),
    )
    mocks.test(lambda: program() and None)()
    return seen
