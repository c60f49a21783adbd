import json

from surge.policy.ports import Ports
from surge.policy.prometheus import configuration

CONFIGURATION = json.loads(configuration(Ports(21_000), scrape_s=15, compressed_s=0.25))
JOBS = {job["job_name"]: job for job in CONFIGURATION["scrape_configs"]}


def test_what_plays_in_compressed_time_is_read_so_and_what_runs_at_its_own_pace_is_not():
    pace = CONFIGURATION["global"]["scrape_interval"]
    read = {name: job.get("scrape_interval", pace) for name, job in JOBS.items()}
    compressed = dict.fromkeys(["saturation", "broker-queues", "fleet", "verifier", "scale-in"], "250ms")
    assert read == compressed | dict.fromkeys(["broker", "keda", "kwok", "apiserver"], "15000ms")


def test_no_answer_may_take_longer_than_until_the_next_is_asked():
    assert CONFIGURATION["global"]["scrape_timeout"] == CONFIGURATION["global"]["scrape_interval"]


def test_every_port_is_read_on_loopback():
    targets = [
        target for job in JOBS.values() for each in job["static_configs"] for target in each["targets"]
    ]
    assert {target.partition(":")[0] for target in targets} == {"127.0.0.1"}
