"""Spikes with crashes, part of `make soak`. SURGE_SOAK_MINUTES says how long (10)."""

import json
import os
import random
import signal
import time
from threading import Thread

import pytest

from lab.checkout import Checkout, scratch_checkout
from providers.surge.supervisor import Supervisor

pytestmark = [pytest.mark.local, pytest.mark.stack, pytest.mark.soak, pytest.mark.timeout(7200)]

BASE_PORT = 24_400
VICTIMS = ("rabbitmq", "keda-operator", "keda-adapter", "kube-apiserver", "etcd", "saturation", "kwok")
MINUTES = float(os.environ.get("SURGE_SOAK_MINUTES", "10"))


def crash_one(checkout: Checkout, victim: str, after_s: float) -> None:
    time.sleep(after_s)
    seen = Supervisor(str(checkout.cluster)).see(victim)
    if seen is not None and seen.pid:
        os.killpg(os.getpgid(seen.pid), signal.SIGKILL)


def test_spikes_with_crashes_lose_no_message(tmp_path):
    chance = random.Random(7)
    end = time.monotonic() + 60 * MINUTES
    with scratch_checkout(tmp_path, base_port=BASE_PORT) as checkout:
        checkout.surge("up", "local")
        for seed in range(1, 1000):
            victim, after_s = chance.choice(VICTIMS), chance.uniform(5, 60)
            crash = Thread(target=crash_one, args=(checkout, victim, after_s))
            crash.start()
            shape = "lab/shapes/smoke.yaml"
            spike = checkout.module("lab.spike", "--shape", shape, "--seed", str(seed), check=False)
            crash.join()
            written = checkout.root / "build" / "spike" / "report.json"
            missing = f"no report of the run in which {victim} crashed: {spike.stderr[-3000:]}"
            assert written.exists(), missing
            report = json.loads(written.read_text())
            assert report["seed"] == seed, missing
            total = report["total"]
            assert total["published"] > 1000, victim
            assert (total["lost"], total["redelivered_by_scale_in"]) == (0, 0), (victim, after_s, total)
            if time.monotonic() > end:
                return
