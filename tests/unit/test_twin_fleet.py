"""The queue and its workers, against Erlang C and against bookkeeping."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.strategies import booleans, floats, integers, lists, tuples

from surge.policy.target import erlang_c
from surge.twin.fleet import Fleet
from surge.twin.shapes import SHAPES, requests

MANY = 400_000


def m_m_c(servers: int, load: float, seed: int = 5) -> Fleet:
    random = np.random.default_rng(seed)
    arrivals = np.cumsum(random.exponential(1 / load, MANY))
    fleet = Fleet(arrivals, random.exponential(1.0, MANY), idle=servers, most=servers)
    fleet.advance(float(arrivals[-1]) + 100)
    return fleet


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (2, 1.4), (10, 7), (10, 9), (100, 90)])
def test_waits_are_those_of_erlang_c(servers, load):
    waited = m_m_c(servers, load).waited_s[MANY // 10 :]
    share = erlang_c(servers, load)
    assert np.mean(waited > 0) == pytest.approx(share, rel=0.05)
    assert np.mean(waited) == pytest.approx(share / (servers - load), rel=0.1)


def test_waits_with_log_normal_work_are_those_of_pollaczek_and_khinchine():
    load, cv = 0.6, 0.72
    arrivals, work = requests(np.full(MANY, load), 1.0, seed=3, cv=cv)
    fleet = Fleet(arrivals, work, idle=1, most=1)
    fleet.advance(float(MANY))
    expected = load / (1 - load) * (1 + cv * cv) / 2
    assert np.nanmean(fleet.waited_s) == pytest.approx(expected, rel=0.05)


def test_requests_follow_the_load_and_have_the_work_asked_for():
    load = SHAPES["step"](1) * 70
    arrivals, work = requests(load, 8.0, seed=1)
    in_step = np.sum((arrivals >= 1800) & (arrivals < 5400))
    assert in_step == pytest.approx(490 * 3600 / 8, rel=0.01)
    assert np.all(np.diff(arrivals) >= 0)
    assert np.mean(work) == pytest.approx(8.0, rel=0.01)
    assert np.std(work) / np.mean(work) == pytest.approx(0.72, rel=0.02)


@settings(deadline=None, max_examples=60)
@given(
    lists(tuples(floats(0, 20), integers(0, 40)), min_size=1, max_size=40),
    integers(0, 20),
    integers(0, 1000),
    booleans(),
)
def test_no_message_and_no_worker_is_lost_or_made(resizes, idle, seed, idle_first):
    random = np.random.default_rng(seed)
    arrivals = np.sort(random.uniform(0, 300, 200))
    fleet = Fleet(arrivals, random.lognormal(1, 1, 200), idle=idle, most=40, seed=seed)
    now = 0.0
    for passed, wanted in resizes:
        now += passed
        fleet.advance(now)
        assert fleet.arrived == np.sum(arrivals <= now)
        assert fleet.arrived == fleet.waiting + fleet.unacked + fleet.finished
        assert 0 <= fleet.unacked <= fleet.consumers <= fleet.held
        fleet.resize(wanted, lead_s=7.0, idle_first=idle_first)
        assert fleet.replicas == wanted
    fleet.resize(5, lead_s=7.0, idle_first=idle_first)
    fleet.advance(1e6)
    assert fleet.finished == 200
    assert fleet.consumers == fleet.ready == fleet.held == 5
    assert np.all(fleet.waited_s >= 0)


def test_messages_start_in_the_order_they_came():
    arrivals, work = requests(np.full(2000, 12.0), 8.0, seed=2)
    fleet = Fleet(arrivals, work, idle=10, most=10)
    fleet.advance(2000)
    started = (arrivals + fleet.waited_s)[~np.isnan(fleet.waited_s)]
    assert np.all(np.diff(started) >= -1e-9)


def test_a_worker_consumes_after_its_lead_and_holds_its_gpu_from_the_start():
    fleet = Fleet(np.array([1.0]), np.array([5.0]), idle=0, most=3)
    fleet.advance(2.0)
    fleet.resize(1, lead_s=63.0, idle_first=True)
    fleet.advance(100.0)
    assert fleet.waited_s[0] == pytest.approx(64.0)
    assert fleet.worker_s == pytest.approx(98.0)


def test_a_worker_that_leaves_finishes_its_message_and_is_no_ready_pod_meanwhile():
    fleet = Fleet(np.array([1.0, 1.0]), np.array([50.0, 50.0]), idle=2, most=2)
    fleet.advance(2.0)
    fleet.resize(1, lead_s=63.0, idle_first=True)
    assert (fleet.ready, fleet.consumers, fleet.unacked) == (1, 2, 2)
    fleet.advance(60.0)
    assert (fleet.ready, fleet.consumers, fleet.finished) == (1, 1, 2)
    assert fleet.worker_s == pytest.approx(51.0 + 60.0)


def test_warming_workers_are_the_first_to_go():
    fleet = Fleet(np.array([]), np.array([]), idle=3, most=9)
    fleet.resize(8, lead_s=63.0, idle_first=False)
    fleet.resize(4, lead_s=63.0, idle_first=False)
    assert (fleet.ready, fleet.warming) == (3, 1)
