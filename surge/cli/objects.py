"""What filters become on a stack: the program itself, on an engine that only listens."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any, NamedTuple

from pulumi.runtime import mocks

from components.broker import queue_of
from components.shard import build_shard
from surge.model import Catalogue, Filter, Settings, Shard, worker_sets
from surge.model.capacity import home
from surge.policy.topology import bell, of_filters

__all__ = ["Thing", "things_of"]


class Thing(NamedTuple):
    """An object of the cluster or of the broker, such as ScaledObject filters/ghibli."""

    kind: str
    name: str


def things_of(filters: Iterable[Filter], settings: Settings) -> dict[Thing, Mapping[str, Any]]:
    """Return every object that `filters` have of their own on a stack, with what is wanted of it."""
    chosen = tuple(filters)
    if not chosen:
        return {}
    sets = {each.name: [item.name for item in each.members] for each in worker_sets(chosen)}
    shape = of_filters({item.name: queue_of(item, settings.time_scale) for item in chosen}, sets)
    ours = {item.queue for item in chosen} | {bell(name) for name in sets}
    found = {
        Thing(kind, each["name"]): each[wanted]
        for kind, part, wanted in (("Queue", "queues", "arguments"), ("Policy", "policies", "definition"))
        for each in shape[part]
        if each["name"] in ours
    }
    return found | _objects(chosen, settings)


def _objects(filters: tuple[Filter, ...], settings: Settings) -> dict[Thing, Mapping[str, Any]]:
    ears, here = _Ears(), tuple(item for item in filters if home(item, settings) is not None)
    saturation = {"url": "", "authentication": "", "auth-modes": ""}
    whole = {"base": "base", "index": 0, "shards": 1, "saturation": saturation, "services": {}}
    # The SDK takes the thread's current loop, and there is none any more after an asyncio.run().
    with closing(asyncio.new_event_loop()) as loop:
        asyncio.set_event_loop(loop)
        mocks.set_mocks(ears, project="surge", stack="listening", organization="organization", preview=False)
        mocks.test(lambda: build_shard(settings, Catalogue(here), Shard.model_validate(whole)))()
        asyncio.set_event_loop(None)
    return ears.heard


class _Ears(mocks.Mocks):
    def __init__(self) -> None:
        self.heard: dict[Thing, Mapping[str, Any]] = {}

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        wanted: dict[str, Any] = dict(args.inputs)
        if args.typ == "pulumi:pulumi:StackReference":
            outputs = {"cluster": {"kubeconfig": ""}, "access": {"saturation_token": "", "saturation_ca": ""}}
            return args.name, {**wanted, "outputs": outputs}
        if args.typ.startswith("kubernetes:"):
            metadata = wanted.get("metadata", {})
            name = "/".join(filter(None, [metadata.get("namespace"), metadata.get("name", args.name)]))
            self.heard[Thing(wanted.get("kind") or args.typ.rpartition(":")[2], name)] = wanted
        return f"{args.name}-id", wanted

    def call(self, args: mocks.MockCallArgs) -> Any:
        raise LookupError(f"{args.token}: a filter's objects need nothing that exists already")
