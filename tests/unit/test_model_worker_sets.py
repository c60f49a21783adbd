"""Sets of pooled filters: what stands for their workers, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from surge.model import Catalogue, ProblemsError, WorkerSet, services

IMAGE = "registry.example/style@sha256:" + "0" * 64
USUAL = {"image": IMAGE, "service-s": 2, "longest-job-s": 30, "min": 1, "max": 4, "owner": "me"}
POOLED = {**USUAL, "class": "pooled", "worker-set": "warm"}


def catalogue(folder: Path, **filters: dict[str, Any]) -> Catalogue:
    file = folder / "filters.yaml"
    file.write_text(json.dumps({"filters": filters}))
    return Catalogue.read(file)


def test_a_set_stands_in_for_its_members_and_suits_them_all(tmp_path):
    slow = {**POOLED, "service-s": 6, "longest-job-s": 90, "slo-s": 20, "drain-s": 10}
    found = services(catalogue(tmp_path, zebra=USUAL, a=slow, b=POOLED).filters)
    assert [item.name for item in found] == ["warm", "zebra"]
    warm = found[0]
    assert isinstance(warm, WorkerSet)
    assert [each.name for each in warm.members] == ["a", "b"]
    assert (warm.queue, warm.min, warm.max, warm.signal) == ("filter.warm", 1, 4, "demand")
    assert (warm.service_s, warm.longest_job_s, warm.slo_s, warm.drain_s) == (4, 90, 20, 10)


def test_without_pooled_filters_there_is_no_set(tmp_path):
    found = catalogue(tmp_path, a=USUAL, b=USUAL).filters
    assert services(found) == list(found)


def test_a_filter_whose_queue_would_be_the_bell_is_refused(tmp_path):
    with pytest.raises(ProblemsError, match=r"the set's bell is filter\.warm, which is the queue of other"):
        catalogue(tmp_path, a=POOLED, other={**USUAL, "queue": "filter.warm"})
