"""The marking process without a cluster: what it asks for, how much, and what it leaves alone."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from scale_in.api import ApiError
from scale_in.chooser import Chooser
from scale_in.metrics import Metrics
from scale_in.settings import Settings
from surge.policy.scale_in import COST

SETTINGS = {
    "kubeconfig": "kubeconfig",
    "namespace": "filters",
    "management": ["http://broker:15672"],
    "vhost": "surge",
    "credentials": "credentials",
    "metrics_port": 9000,
    "tick_s": 1,
    "patches_per_s": 4,
    "leave": ["left-alone"],
}


class World:
    """An API server and a broker: filters with `size` workers each, of which the even ones are idle."""

    def __init__(self, sizes: dict[str, int], near: bool = True) -> None:
        self.sizes, self.near = sizes, near
        self.costs: dict[str, str | None] = {}
        self.calls: list[str] = []
        self.away = False

    async def autoscalers(self) -> list[dict[str, Any]]:
        self._call("autoscalers")
        return [
            {
                "spec": {"minReplicas": 1, "scaleTargetRef": {"name": name}},
                "status": {"currentReplicas": size, "desiredReplicas": size - self.near},
            }
            for name, size in self.sizes.items()
        ]

    async def pods(self, filters: Any) -> list[dict[str, Any]]:
        self._call("pods")
        return [
            {"metadata": {"name": pod, "labels": {"surge.dev/filter": name}, "annotations": self._notes(pod)}}
            for name in filters
            for pod in self._names(name)
        ]

    async def jobs(self) -> dict[str, int]:
        self._call("jobs")
        return {pod: number % 2 for name in self.sizes for number, pod in enumerate(self._names(name))}

    async def price(self, pod: str, cost: str | None) -> bool:
        self._call("price")
        self.costs[pod] = cost
        return True

    def _names(self, name: str) -> list[str]:
        return [f"{name}-{number}" for number in range(self.sizes[name])]

    def _notes(self, pod: str) -> dict[str, str]:
        cost = self.costs.get(pod)
        return {} if cost is None else {COST: cost}

    def _call(self, what: str) -> None:
        if self.away:
            raise ApiError(0, "away")
        self.calls.append(what)


def chooser(world: World, **more: Any) -> Chooser:
    settings = Settings.model_validate_json(Settings.model_validate(SETTINGS | more).model_dump_json())
    return Chooser(world, world, settings, Metrics(), clock=lambda: 0.0)  # pyright: ignore[reportArgumentType]


def test_while_no_scale_in_is_near_nothing_is_read_but_the_autoscalers():
    world = World({"ghibli": 9}, near=False)
    asyncio.run(chooser(world).round())
    assert world.calls == ["autoscalers"]


def test_no_more_pods_are_patched_in_a_second_than_allowed_and_every_filter_has_its_turn():
    world = World({"ghibli": 30, "sketch": 4, "left-alone": 6})
    at_work = chooser(world)
    asyncio.run(at_work.round())
    assert len(world.costs) == 4
    assert {pod.rpartition("-")[0] for pod in world.costs} == {"ghibli", "sketch"}
    for _ in range(5):
        asyncio.run(at_work.round())
    idle = {f"ghibli-{number}" for number in range(0, 30, 2)} | {"sketch-0", "sketch-2"}
    assert set(world.costs) == idle
    assert set(world.costs.values()) == {"-1"}
    asyncio.run(at_work.round())
    assert world.calls.count("price") == len(idle)


def test_it_outlives_an_api_server_that_is_away(monkeypatch):
    world = World({"ghibli": 4})
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        world.away = len(waits) < 5
        if len(waits) == 6:
            raise asyncio.CancelledError

    monkeypatch.setattr("scale_in.chooser.asyncio.sleep", sleep)
    world.away = True
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(chooser(world).run())
    assert set(world.costs) == {"ghibli-0", "ghibli-2"}
    assert waits[0] <= 0.5
    assert waits[3] >= 2


def test_its_files_are_beside_its_settings(tmp_path: Path):
    file = tmp_path / "config.json"
    file.write_text(Settings.model_validate(SETTINGS).model_dump_json())
    assert Settings.read(file).credentials == tmp_path / "credentials"
    file.write_text('{"namespace": "filters"}')
    with pytest.raises(ValidationError):
        Settings.read(file)
