"""The rules of `admission` as a ValidatingAdmissionPolicy: what the API server refuses, whoever asks.

It judges pods that ask for an `nvidia.com/` resource, by the pool that their node selector names.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from surge.policy.gpu.admission import Kind, Pool
from surge.policy.gpu.protocol import GPU_POLICY
from surge.policy.gpu.shapes import CARDS, CORES, MEMORY

__all__ = ["guard_objects"]

NAME = "surge-gpu-shapes"
PART = (MEMORY, CORES)
POOL_LABEL = "surge.dev/pool"
# HAMi's ways to choose a card by something else than how full it is.
OTHER_WAYS = ("hami.io/device-scoring-weights", "nvidia.com/vgpu-mode")
ASKS = "c.?resources.?limits.orValue({}).exists(r, r.startsWith('nvidia.com/'))"


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """must: what a pod keeps to, when `when` is true of it. Both are CEL."""

    must: str
    message: str
    when: str = ""

    def validation(self) -> dict[str, str]:
        expression = f"!({self.when}) || ({self.must})" if self.when else self.must
        return {"expression": expression, "message": self.message}


def guard_objects(pools: Sequence[Pool], scheduler: str | None) -> list[dict[str, Any]]:
    """The policy and its binding. scheduler: of pods that share cards; None for the cluster's own."""
    rules = [*_of_every_pool(pools), *_of_parts(pools, scheduler), *_of_pairs(pools)]
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": NAME},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["pods"],
                    }
                ]
            },
            "matchConditions": [
                {
                    "name": "asks-for-a-gpu",
                    "expression": f"object.spec.containers.exists(c, {ASKS}) || "
                    f"object.spec.?initContainers.orValue([]).exists(c, {ASKS})",
                }
            ],
            "variables": [
                {"name": name, "expression": expression} for name, expression in _variables(pools).items()
            ],
            "validations": [rule.validation() for rule in rules],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": NAME},
        "spec": {"policyName": NAME, "validationActions": ["Deny"]},
    }
    return [policy, binding]


def _variables(pools: Sequence[Pool]) -> dict[str, str]:
    return {
        "pool": f"object.spec.?nodeSelector[?'{POOL_LABEL}'].orValue('')",
        "kind": f"{_map({pool.name: pool.kind for pool in pools})}[?variables.pool].orValue('')",
        "app": f"object.spec.containers.filter(c, {ASKS})",
        "init": f"object.spec.?initContainers.orValue([]).filter(c, {ASKS})",
        "all": "variables.app + variables.init",
        # HAMi's webhook adds all cores to a bare GPU.
        "whole": f"variables.all.all(c, !('{MEMORY}' in c.resources.limits) && "
        f"(!('{CORES}' in c.resources.limits) || {_amount('c', CORES)} == 100))",
        "stated": f"variables.all.all(c, ['{CARDS}', '{MEMORY}', '{CORES}'].all(r, r in c.resources.limits))",
    }


def _of_every_pool(pools: Sequence[Pool]) -> Iterable[_Rule]:
    yield _Rule(
        must="variables.kind != ''",
        message="it asks for a GPU and names no pool of this cluster: set nodeSelector "
        f"{POOL_LABEL} to one of {', '.join(sorted(pool.name for pool in pools))}",
    )
    yield _Rule(
        must="!has(object.spec.nodeName)",
        message="it names its node, so no scheduler books its card: remove nodeName",
    )
    yield _Rule(
        must="variables.all.all(c, c.resources.limits.all(r, "
        f"!r.startsWith('nvidia.com/') || r in ['{CARDS}', '{MEMORY}', '{CORES}']))",
        message=f"the arithmetic counts {CARDS}, {MEMORY} (MiB) and {CORES} only: "
        "remove other nvidia.com resources",
    )
    yield _Rule(
        when="variables.kind == 'whole'",
        must="size(variables.all) == 1 && variables.whole && "
        f"!('{CORES}' in variables.all[0].resources.limits)",
        message="its pool hands out whole cards, so two containers, or part of a card, cannot share one: "
        "choose a pool with HAMi",
    )
    yield _Rule(
        when="variables.whole",
        must=f"variables.all.all(c, {_amount('c', CARDS)} <= "
        f"{_of_pool({pool.name: pool.cards_per_node for pool in pools})})",
        message="a container asks for more cards than a node of its pool has: ask for fewer",
    )


def _of_parts(pools: Sequence[Pool], scheduler: str | None) -> Iterable[_Rule]:
    if scheduler is not None:
        yield _Rule(
            when="variables.kind != 'whole'",
            must=f"object.spec.schedulerName == '{scheduler}'",
            message=f"another scheduler books no card for it: set schedulerName {scheduler}",
        )
    yield _Rule(
        when="variables.kind == 'shared'",
        must="size(variables.app) == 1",
        message="its pool holds single containers: a second one may land on another card; choose a pool of "
        "pairs, or make the first an init container",
    )
    yield _Rule(
        when="variables.kind == 'shared' && size(variables.init) > 0",
        must="variables.stated && variables.init.all(i, "
        + " && ".join(f"{_amount('i', name)} == {_amount('variables.app[0]', name)}" for name in PART)
        + ")",
        message="its init container asks for another part of a card than its container, so HAMi may choose "
        f"two cards: state the same {MEMORY} and {CORES} on both",
    )
    yield _Rule(
        must="variables.init.all(i, i.?restartPolicy.orValue('') != 'Always')",
        message="a sidecar with a GPU is booked too low: make it an ordinary container",
    )
    yield _Rule(
        when="variables.kind == 'pairs' || variables.kind == 'shared' && !variables.whole",
        must="variables.stated",
        message=f"it does not state {CARDS}, {MEMORY} and {CORES} on every container that shares a card: "
        "a bare GPU is a card of its own",
    )
    yield _Rule(
        when="variables.stated",
        must=f"variables.all.all(c, {_amount('c', CARDS)} == 1 && {_amount('c', CORES)} >= 1 && "
        f"{_amount('c', CORES)} <= 99 && {_amount('c', MEMORY)} >= 1 && {_amount('c', MEMORY)} <= "
        f"{_of_pool({pool.name: pool.card_mib for pool in pools})})",
        message=f"a part of a card is {CARDS} 1, {CORES} 1 to 99 and {MEMORY} at most a card's MiB",
    )


def _of_pairs(pools: Sequence[Pool]) -> Iterable[_Rule]:
    pairs = [pool for pool in pools if pool.kind == "pairs"]
    if not pairs:
        return
    yield _Rule(
        when="variables.kind == 'pairs'",
        must="size(variables.app) == 2 && size(variables.init) == 0",
        message="its pool holds pairs of two GPU containers and nothing else: any other number leaves an odd "
        "slot, and the next pair is split over two cards; choose a pool of kind shared",
    )
    most = {
        MEMORY: {pool.name: pool.pair_mib for pool in pairs},
        CORES: {pool.name: pool.pair_cores for pool in pairs},
    }
    for name, of_pool in most.items():
        yield _Rule(
            when="variables.kind == 'pairs' && variables.stated && size(variables.app) == 2",
            must=f"{_amount('variables.app[0]', name)} + {_amount('variables.app[1]', name)} <= "
            f"{_of_pool(of_pool)}",
            message=f"both containers together ask for more {name} than their pool grants a pair "
            f"({', '.join(f'{pool}: {value}' for pool, value in sorted(of_pool.items()))}): ask for less, "
            "or choose a pool with fewer slots",
        )
    yield _Rule(
        when="variables.kind == 'pairs'",
        must=f"object.metadata.?annotations[?'{GPU_POLICY}'].orValue('') == 'binpack' && "
        f"!object.metadata.?annotations.orValue({{}}).exists(a, a in {list(OTHER_WAYS)})",
        message="another way to choose a card may separate the pair: set annotation "
        f"{GPU_POLICY} to binpack, remove {' and '.join(OTHER_WAYS)}",
    )


def _amount(container: str, resource: str) -> str:
    return f"quantity({container}.resources.limits['{resource}']).asInteger()"


def _of_pool(numbers: Mapping[str, int]) -> str:
    return f"{_map(numbers)}[?variables.pool].orValue(0)"


def _map(entries: Mapping[str, Kind | int]) -> str:
    """A CEL map; names of pools are DNS labels, so nothing needs to be escaped."""
    return "{" + ", ".join(f"'{key}': {value!r}" for key, value in sorted(entries.items())) + "}"
