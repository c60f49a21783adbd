"""The provider as the SDK's interface wants it: dispatch by type, work in threads."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from pulumi.provider.experimental import provider as api
from pulumi.provider.experimental.property_value import PropertyValue

from .broker_resource import BrokerTopology
from .pki_resources import PkiAuthority, PkiCertificate
from .problems import ProblemError
from .process_resource import LocalProcess

__all__ = ["Properties", "ResourceType", "SurgeProvider", "Work"]

Properties = dict[str, PropertyValue]
Result = TypeVar("Result")

# A resource that waits holds a thread; a cluster has some 20 processes, a burst stack as many again.
THREADS = 256


class ResourceType(Protocol):
    """What a resource type does; everything may block. tell: a line of progress for the user."""

    def check(self, name: str, news: Properties) -> tuple[Properties, list[tuple[str, str]]]: ...

    def diff(self, olds: Properties, news: Properties) -> api.DiffResponse: ...

    def create(self, name: str, news: Properties, work: "Work") -> tuple[str, Properties]: ...

    def read(self, identifier: str, state: Properties) -> Properties | None: ...

    def update(self, identifier: str, olds: Properties, news: Properties, work: "Work") -> Properties: ...

    def delete(self, identifier: str, state: Properties) -> None: ...


class Work:
    """What a running operation needs to know of its surroundings."""

    def __init__(self, preview: bool, cancelled: threading.Event, tell: Callable[[str], None]) -> None:
        self.preview, self.cancelled, self.tell = preview, cancelled, tell


class SurgeProvider(api.Provider):
    """log(urn, message): shows a passing line of progress beside the resource."""

    def __init__(self, log: Callable[[str, str], None]) -> None:
        self._log = log
        self._cancelled = threading.Event()
        self._threads = ThreadPoolExecutor(THREADS)
        self._types: dict[str, ResourceType] = {
            "surge:local:Process": LocalProcess(),
            "surge:pki:Authority": PkiAuthority(),
            "surge:pki:Certificate": PkiCertificate(),
            "surge:broker:Topology": BrokerTopology(),
        }

    async def configure(self, request: api.ConfigureRequest) -> api.ConfigureResponse:
        del request
        # Output values stay off: the SDK's reader of them fails on unknown ones.
        return api.ConfigureResponse(accept_secrets=True, supports_preview=True)

    async def check(self, request: api.CheckRequest) -> api.CheckResponse:
        of_type = self._type(request.type)
        inputs, problems = await self._run(of_type.check, request.name, request.new_inputs)
        return api.CheckResponse(inputs=inputs, failures=[_failure(inputs, *problem) for problem in problems])

    async def diff(self, request: api.DiffRequest) -> api.DiffResponse:
        news = dict(request.new_inputs)
        for ignored in request.ignore_changes:
            if ignored in request.old_state:
                news[ignored] = request.old_state[ignored]
        return await self._run(self._type(request.type).diff, request.old_state, news)

    async def create(self, request: api.CreateRequest) -> api.CreateResponse:
        work = self._work(request.urn, request.preview)
        identifier, state = await self._run(
            self._type(request.type).create, request.name, request.properties, work
        )
        return api.CreateResponse(None if request.preview else identifier, state)

    async def update(self, request: api.UpdateRequest) -> api.UpdateResponse:
        work = self._work(request.urn, request.preview)
        of_type = self._type(request.type)
        state = await self._run(of_type.update, request.resource_id, request.olds, request.news, work)
        return api.UpdateResponse(state)

    async def read(self, request: api.ReadRequest) -> api.ReadResponse:
        if not request.inputs:
            raise ProblemError(
                f"{request.type} cannot be imported: its inputs (secrets among them) cannot be read back. "
                "Declare it in the program and run an update: what exists and is equal is adopted"
            )
        state = await self._run(self._type(request.type).read, request.resource_id, request.properties)
        if state is None:
            return api.ReadResponse()
        return api.ReadResponse(request.resource_id, state, request.inputs)

    async def delete(self, request: api.DeleteRequest) -> None:
        await self._run(self._type(request.type).delete, request.resource_id, request.properties)

    async def cancel(self) -> None:
        self._cancelled.set()

    def _type(self, chain: str) -> ResourceType:
        """chain: the types of the resource's parents and its own, joined by $, as a URN has them."""
        token = chain.rpartition("$")[2]
        if token not in self._types:
            raise ProblemError(f"{token} is no type of this provider; it has {', '.join(self._types)}")
        return self._types[token]

    def _work(self, urn: str, preview: bool) -> Work:
        return Work(preview, self._cancelled, lambda message: self._log(urn, message))

    async def _run(self, call: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)


def _failure(inputs: Properties, name: str, reason: str) -> api.CheckFailure:
    # The engine prints the value of the property that a failure names, in clear even when it is secret.
    secret = name in inputs and inputs[name].contains_secret()
    return api.CheckFailure("" if secret else name, reason)
