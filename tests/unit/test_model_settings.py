import pytest

from surge.model import Catalogue, ProblemsError, Settings
from surge.policy.timescale import TimeScale


def test_a_local_stack_compresses_time_and_the_others_do_not():
    assert Settings.parse({"stack-kind": "local", "cluster": {"name": "a"}}).time_factor == 7.5
    assert (
        Settings.parse({"stack-kind": "local", "time-factor": 1, "cluster": {"name": "a"}}).time_factor == 1
    )
    for kind in ("onprem", "aws", "burst"):
        assert Settings.parse({"stack-kind": kind, "cluster": {"name": "a"}}).time_factor == 1


def test_what_is_left_out_has_the_documented_default():
    parsed = Settings.parse({"stack-kind": "local", "cluster": {"name": "a"}})
    assert parsed.catalogue == "filters.yaml"
    assert (parsed.cluster.base_port, parsed.cluster.nodes, parsed.cluster.gpus_per_node) == (21_000, 5, 8)
    assert (parsed.cluster.hpa_sync_s, parsed.broker.statistics_s) == (15, 1)
    assert (parsed.saturation.sample_s, parsed.saturation.stale_s) == (1.5, 20)
    assert (parsed.prometheus.scrape_s, parsed.prometheus.retention) == (15, "2h")
    assert parsed.ports.apiserver == 21_002


def test_the_highest_base_port_leaves_room_for_the_block():
    parsed = Settings.parse({"stack-kind": "local", "cluster": {"name": "a", "base-port": 32_728}})
    assert parsed.ports.alertmanager < 32_768


def test_model_seconds_become_wall_seconds():
    scale = TimeScale(7.5)
    assert (scale.wall(60), scale.whole(60), scale.whole(1), scale.model(8)) == (8, 8, 1, 60)


@pytest.mark.parametrize("factor", [0, 0.99, -1, float("nan"), float("inf")])
def test_time_never_runs_slower_than_the_wall(factor):
    with pytest.raises(ValueError, match="time factor"):
        TimeScale(factor)


def test_a_filter_that_no_scale_in_should_mark_must_be_one(tmp_path):
    file = tmp_path / "filters.yaml"
    entry = f"{{image: 'a@sha256:{'0' * 64}', service-s: 2, min: 1, max: 2, longest-job-s: 9, owner: me}}"
    file.write_text(f"filters: {{ghibli: {entry}}}")
    settings = {"stack-kind": "local", "cluster": {"name": "one"}, "scale-in": {"leave": ["ghibly"]}}
    with pytest.raises(ProblemsError, match=r"scale-in\.leave names .ghibly., no filter here.*ghibli"):
        Catalogue.read(file, Settings.parse(settings))
