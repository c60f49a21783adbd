"""Which stacks of a fleet are run, moved or refused, from what their states record; and runs side by side."""

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from surge.cli.app import app
from surge.cli.console import Refusal, errors
from surge.cli.display import Display
from surge.cli.fleet_display import Board, run_rows
from surge.cli.fleet_job import FleetJob
from surge.cli.fleet_outputs import Facts, Outputs
from surge.cli.fleet_plan import FleetState, Part, fleet_state, parts, refuse_if_sharded, shards_for
from surge.cli.fleet_runs import Run, run_all
from surge.cli.held import SERVICE, Held
from surge.cli.interrupts import Interrupts
from surge.cli.operation import INTERRUPTED
from surge.cli.reshard import _drop, _moves
from surge.cli.stacks import read_settings, state_file
from surge.model import Broker, Catalogue, Settings
from surge.model.worker_sets import service_of
from surge.policy.shards import home_stack
from surge.stack_outputs import RunningStack

ROOT = Path(__file__).parents[2]
NAMES = [f"filter-{number}" for number in range(12)]


def urn(stack: str, kind: str, name: str) -> str:
    return f"urn:pulumi:{stack}::surge::{kind}::{name}"


def deployment(
    stack: str, services: list[str], digests: Mapping[str, str] | None = None, **outputs: Any
) -> dict[str, Any]:
    """digests: of the services that were finished."""
    root = {
        "urn": urn(stack, "pulumi:pulumi:Stack", f"surge-{stack}"),
        "type": "pulumi:pulumi:Stack",
        "outputs": outputs,
    }
    made: list[dict[str, Any]] = [root]
    for name in services:
        service = urn(stack, SERVICE, name)
        digest = {"digest": (digests or {}).get(name)}
        made.append(
            {"urn": service, "type": SERVICE, "parent": root["urn"], "inputs": digest, "outputs": digest}
        )
        made.append(
            {
                "urn": urn(stack, f"{SERVICE}$kubernetes:apps/v1:Deployment", name),
                "type": "kubernetes:apps/v1:Deployment",
                "parent": service,
            }
        )
    return {"resources": made}


def held(stack: str, services: list[str], digests: Mapping[str, str] | None = None, **outputs: Any) -> Held:
    return Held.parse(deployment(stack, services, digests, **outputs))


def sharded(shards: int, names: list[str] = NAMES) -> FleetState:
    homes = {name: home_stack("local", name, shards) for name in names}
    stacks = {
        stack: held(stack, [name for name in names if homes[name] == stack]) for stack in homes.values()
    }
    return fleet(held("local", [], fleet={"shards": shards}), stacks)


def fleet(base: Held | None, shards: dict[str, Held] | None = None) -> FleetState:
    return FleetState(stack="local", base=base, shards=shards or {})


ONE = fleet(held("local", NAMES, fleet={"shards": 1}))
NEW = fleet(None)


def settings(shards: object = "auto") -> Settings:
    return Settings.parse({"stack-kind": "local", "cluster": {"name": "a"}, "fleet": {"shards": shards}})


def of(filters: int) -> Catalogue:
    [first, *_] = Catalogue.read(ROOT / "filters.yaml").filters
    return Catalogue(
        tuple(first.model_copy(update={"name": f"filter-{number}"}) for number in range(filters))
    )


def test_a_new_fleet_takes_the_settings_number_or_the_usual_one():
    assert shards_for(NEW, settings(), of(1_200)) == 16
    assert shards_for(NEW, settings(4), of(10)) == 4


def test_growth_does_not_reshard_a_fleet_by_itself():
    assert shards_for(ONE, settings(), of(1_200)) == 1
    assert shards_for(sharded(4), settings(), of(10)) == 4


def test_a_stack_of_an_earlier_version_has_one_shard():
    assert shards_for(fleet(held("local", NAMES)), settings(), of(1_200)) == 1


def test_another_number_in_the_settings_is_a_move_and_never_an_update():
    with pytest.raises(Refusal, match="surge fleet reshard local --shards 8"):
        shards_for(sharded(4), settings(8), of(10))


def test_a_filter_in_the_wrong_stack_stops_every_update_until_the_move_is_finished():
    half = fleet(held("local", NAMES[:3], fleet={"shards": 4}))
    with pytest.raises(Refusal, match=r"3 filters [^$]* surge fleet reshard local --shards 4") as refused:
        shards_for(half, settings(), of(10))
    assert "cut short" in str(refused.value)


def test_shards_of_a_cluster_that_is_gone_are_not_updated():
    left = fleet(None, dict(sharded(4).shards))
    with pytest.raises(Refusal, match="surge down local"):
        shards_for(left, settings(), of(10))


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 8), (8, 4), (4, 1), (2, 16)])
def test_a_move_brings_every_filter_home_and_leaves_the_others(before, after):
    state = ONE if before == 1 else sharded(before)
    where = {name: home_stack("local", name, before) for name in NAMES}
    for move in _moves(state, after):
        assert move.source != move.dest
        for name in move.urns:
            assert where[name] == move.source
            where[name] = move.dest
    assert where == {name: home_stack("local", name, after) for name in NAMES}
    assert not _moves(sharded(after) if after > 1 else ONE, after)


def test_forgetting_a_service_takes_what_is_below_it_and_nothing_else():
    state = deployment("local", NAMES[:2])
    _drop(state, {urn("local", SERVICE, NAMES[0])})
    assert [item["urn"].rpartition("::")[2] for item in state["resources"]] == [
        "surge-local",
        *2 * NAMES[1:2],
    ]


def test_a_state_cut_short_is_not_settled():
    state = deployment("local", NAMES[:1])
    assert Held.parse(state).settled
    assert not Held.parse({**state, "pending_operations": [{}]}).settled
    assert not Held.parse(state, killed=True).settled
    state["resources"].append({"urn": "provider", "type": "pulumi:providers:kubernetes", "initErrors": ["e"]})
    assert not Held.parse(state).settled


@pytest.mark.parametrize("left", [{"delete": True}, {"initErrors": ["not ready"]}])
def test_what_is_left_to_do_on_a_service_is_that_services_alone(left):
    state = deployment("local", ["a", "b"], {"a": "1", "b": "2"})
    assert Held.parse(state).built == {"a": "1", "b": "2"}
    state["resources"][-1] |= left
    seen = Held.parse(state)
    assert (seen.built, seen.settled) == ({"a": "1"}, True)


@pytest.mark.parametrize(("begun", "ended"), [("2", "1"), ("2", None), (None, "1")])
def test_a_service_that_an_update_began_and_did_not_finish_is_not_built(begun, ended):
    state = deployment("local", ["a"], {"a": "1"})
    state["resources"][1] |= {"inputs": {"digest": begun}, "outputs": {"digest": ended}}
    assert Held.parse(state).built == {}


RUNNING = RunningStack(
    name="local",
    cluster="a",
    directory="",
    kubeconfig="k",
    endpoints={},
    access={},
    filters={},
    fleet={"shards": 4, "saturation": {"url": "u", "authentication": "a", "auth-modes": "b"}},
    time_factor=1,
    hpa_sync_s=15,
)


def plan(state: FleetState, catalogue: Catalogue, running: RunningStack = RUNNING) -> dict[str, Part]:
    found = parts(ROOT, state, settings=settings(), catalogue=catalogue, facts=Facts.of(running), shards=4)
    return {part.stack: part for part in found}


def planned(state: FleetState, catalogue: Catalogue, running: RunningStack = RUNNING) -> dict[str, str]:
    return {stack: part.to_do for stack, part in plan(state, catalogue, running).items()}


def recorded(catalogue: Catalogue) -> FleetState:
    """The fleet after an update with this catalogue."""
    state = sharded(4, [item.name for item in catalogue.filters])
    found = parts(ROOT, state, settings=settings(), catalogue=catalogue, facts=Facts.of(RUNNING), shards=4)
    shards = {
        part.stack: held(
            part.stack,
            sorted({service_of(catalogue[name]) for name in part.filters}),
            part.told["services"],
        )
        for part in found
    }
    return fleet(state.base, shards)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.read(ROOT / "filters.yaml")


def test_an_unchanged_fleet_runs_no_shard_and_one_changed_entry_runs_its_own_alone(catalogue):
    state = recorded(catalogue)
    assert set(planned(state, catalogue).values()) == {"nothing"}
    first, *rest = catalogue.filters
    changed = Catalogue((first.model_copy(update={"max": first.max + 1}), *rest))
    to_do = planned(state, changed)
    assert to_do.pop(home_stack("local", first.name, 4)) == "update"
    assert set(to_do.values()) == {"nothing"}


def test_an_added_and_a_removed_entry_run_their_shards_alone(catalogue):
    state = recorded(catalogue)
    first, *rest = catalogue.filters
    to_do = planned(state, Catalogue((*rest, first.model_copy(update={"name": "one-more"}))))
    expected = {home_stack("local", first.name, 4), home_stack("local", "one-more", 4)}
    assert {stack for stack, what in to_do.items() if what != "nothing"} == expected


def test_an_update_is_confined_to_the_services_whose_entries_changed(catalogue):
    state = recorded(catalogue)
    first, *rest = catalogue.filters
    changed = Catalogue((first.model_copy(update={"max": first.max + 1}), *rest))
    assert plan(state, changed)[home_stack("local", first.name, 4)].only == [first.name]
    moved = Catalogue((*rest, first.model_copy(update={"name": "one-more"})))
    assert first.name in plan(state, moved)[home_stack("local", first.name, 4)].only
    assert "one-more" in plan(state, moved)[home_stack("local", "one-more", 4)].only


def test_programs_inside_the_command_run_one_after_the_other(catalogue, tmp_path, monkeypatch):
    inside, seen = threading.Semaphore(1), []

    def work(only: Any) -> None:
        alone = inside.acquire(blocking=False)
        time.sleep(0.05)
        seen.append((alone, only))
        if alone:
            inside.release()

    monkeypatch.setattr(FleetJob, "_open", lambda _self, _run, _told, *, only, program: only)
    state = recorded(catalogue)
    job = FleetJob(
        root=ROOT,
        stack="local",
        settings=settings(),
        catalogue=catalogue,
        state=state,
        outputs=Outputs(tmp_path, "local"),
        count=4,
        again="again",
        quiet=True,
        changes=True,
    )
    found = {stack: replace(part, only=[stack]) for stack, part in plan(state, catalogue).items()}
    all_of(
        [run(stack) for stack in found],
        lambda each: job._work_on(work, each, found[each.stack], every=False),
        Interrupts(),
        parallel=4,
    )
    assert sorted(seen) == [(True, [stack]) for stack in found]


def test_an_entry_that_was_reverted_after_its_update_failed_is_updated_again(catalogue):
    state = recorded(catalogue)
    first = catalogue.filters[0]
    stack = home_stack("local", first.name, 4)
    unfinished = {name: each for name, each in state.shards[stack].built.items() if name != first.name}
    failed = fleet(state.base, {**state.shards, stack: replace(state.shards[stack], built=unfinished)})
    part = plan(failed, catalogue)[stack]
    assert (part.to_do, part.only) == ("update", [first.name])


def test_a_filter_may_join_a_set_of_another_shard(catalogue):
    state = recorded(catalogue)
    [member, *_] = [item for item in catalogue.filters if item.worker_set]
    loner = member.model_copy(update={"name": "loner", "queue": "filter.loner", "worker_set": None})
    before = recorded(Catalogue((*catalogue.filters, loner)))
    assert home_stack("local", "loner", 4) != home_stack("local", member.worker_set, 4)
    assert shards_for(before, settings(4), catalogue) == 4
    joined = Catalogue((*catalogue.filters, loner.model_copy(update={"worker_set": member.worker_set})))
    found = plan(before, joined)
    assert found[home_stack("local", "loner", 4)].to_do == "delete 1"
    assert found[home_stack("local", member.worker_set, 4)].only == [member.worker_set]
    assert set(planned(state, catalogue).values()) == {"nothing"}


def test_an_entry_of_a_set_changes_the_service_of_the_set(catalogue):
    [member, *_] = [item for item in catalogue.filters if item.worker_set]
    changed = Catalogue(
        tuple(
            item.model_copy(update={"slo_s": item.slo_s + 1}) if item.name == member.name else item
            for item in catalogue.filters
        )
    )
    found = plan(recorded(catalogue), changed)[home_stack("local", member.worker_set, 4)]
    assert found.only == [member.worker_set]


@pytest.mark.parametrize("what", ["cut short", "never built"])
def test_a_shard_that_is_not_as_it_was_built_is_looked_at_whole(catalogue, what):
    state = recorded(catalogue)
    first = catalogue.filters[0]
    stack = home_stack("local", first.name, 4)
    held_now = state.shards[stack]
    other = {
        "cut short": replace(held_now, settled=False),
        "never built": replace(held_now, built={}),
    }[what]
    changed = Catalogue((first.model_copy(update={"max": first.max + 1}), *catalogue.filters[1:]))
    part = plan(fleet(state.base, {**state.shards, stack: other}), changed)[stack]
    assert not part.current
    assert part.only == []


def test_settings_that_no_service_reads_run_no_shard_and_others_all(catalogue):
    def to_do(**changed: Any) -> set[str]:
        found = parts(
            ROOT,
            recorded(catalogue),
            settings=settings().model_copy(update=changed),
            catalogue=catalogue,
            facts=Facts.of(RUNNING),
            shards=4,
        )
        return {part.to_do for part in found}

    assert to_do(broker=Broker.model_validate({"statistics-s": 9}), prices={"a": 9.0}) == {"nothing"}
    assert to_do(time_factor=9.0) == {"update"}


def test_a_new_kubeconfig_runs_every_shard_whole(catalogue):
    other = RunningStack(**{**vars(RUNNING), "kubeconfig": "another"})
    found = plan(recorded(catalogue), catalogue, other).values()
    assert {(part.to_do, tuple(part.only)) for part in found} == {("update", ())}


def run(stack: str) -> Run:
    return Run(stack, 3, Display(errors, stack, quiet=True))


def all_of(runs: list[Run], work: Any, interrupts: Interrupts, parallel: int = 2) -> None:
    with Board(errors, "test", runs, quiet=True) as board:
        run_all(runs, work, parallel=parallel, interrupts=interrupts, tell=board.tell)


def test_a_shard_that_fails_stops_no_other():
    def work(each: Run) -> None:
        if each.stack == "b":
            raise Refusal("no room", "then this")

    runs = [run(name) for name in "abc"]
    all_of(runs, work, Interrupts())
    assert [each.state for each in runs] == ["done", "failed", "done"]
    assert runs[1].said == ["no room"]
    assert [row[-1] for row in run_rows(runs)] == ["done", "failed", "done"]


def test_no_more_shards_than_asked_for_are_at_work():
    most, now, lock = [0], [0], threading.Lock()
    together = threading.Barrier(3, timeout=30)

    def work(each: Run) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        together.wait()
        with lock:
            now[0] -= 1

    all_of([run(str(number)) for number in range(9)], work, Interrupts(), parallel=3)
    assert most == [3]


def test_after_an_interrupt_nothing_new_begins():
    interrupts = Interrupts()

    def work(each: Run) -> None:
        interrupts.count = 1
        raise Refusal("interrupted", code=INTERRUPTED)

    runs = [run(name) for name in "abc"]
    all_of(runs, work, interrupts, parallel=1)
    assert [each.state for each in runs] == ["interrupted", "waiting", "waiting"]
    assert run_rows(runs)[-1][-1] == "not begun"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder of its own with the settings and the catalogue of this one, and a sharded fleet recorded."""
    for name in ("Pulumi.local.yaml", "filters.yaml", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    for module in ("updates", "fleet_job", "reshard"):
        monkeypatch.setattr(f"surge.cli.{module}.checkout", lambda: tmp_path)
    path = state_file(tmp_path, "local")
    path.parent.mkdir(parents=True)
    recorded = deployment("local", [], fleet={"shards": 4})
    path.write_bytes(orjson.dumps({"checkpoint": {"latest": recorded}}))
    return tmp_path


def test_up_and_preview_of_a_sharded_fleet_name_the_right_command(checkout):
    assert fleet_state(checkout, "local").recorded == 4
    for verb, instead in (("up", "up"), ("preview", "preview"), ("refresh", "up --all")):
        result = CliRunner().invoke(app, [verb])
        assert result.exit_code == 1
        assert f"Run: surge fleet {instead} local" in result.stderr


def test_a_fleet_of_one_stack_is_let_through(checkout):
    state_file(checkout, "local").unlink()
    refuse_if_sharded(checkout, "local", read_settings(checkout, "local"), "up")


def test_reshard_shows_what_would_move_and_moves_nothing(checkout):
    path = state_file(checkout, "local")
    path.write_bytes(
        orjson.dumps({"checkpoint": {"latest": deployment("local", NAMES, fleet={"shards": 1})}})
    )
    before = path.read_bytes()
    result = CliRunner().invoke(app, ["fleet", "reshard", "local", "--shards", "4", "--preview"])
    assert result.exit_code == 0, result.output
    assert "from one shard (the stack itself) to 4; 12 of 12 services move" in result.stdout
    assert path.read_bytes() == before
    assert CliRunner().invoke(app, ["fleet", "reshard", "local", "--shards", "3"]).exit_code == 1


def test_status_of_a_fleet_that_is_not_up_says_how_to_start_it(checkout):
    state_file(checkout, "local").unlink()
    result = CliRunner().invoke(app, ["fleet", "status"])
    assert result.exit_code == 2
    assert "surge fleet up local" in result.stderr
