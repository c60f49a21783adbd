"""HAMi's annotations, written and read. Golden values: the forms that HAMi 2.10 writes."""

import json
from string import ascii_letters, digits

import pytest
from hypothesis import given
from hypothesis.strategies import builds, integers, lists, text

from surge.policy.gpu import Card, Pool, Request, limits, request_of
from surge.policy.gpu.protocol import Grant, grants_of, registered, registration, written
from surge.policy.gpu.shapes import Share, Whole

CARD = "GPU-8dcd427f-483b-b48f-d7e5-75fb19a52b76"
PAIR = f"{CARD},NVIDIA,20000,25:;{CARD},NVIDIA,16000,20:;"


@pytest.mark.parametrize(
    ("annotation", "grants"),
    [
        (PAIR, [(Grant(CARD, 20_000, 25),), (Grant(CARD, 16_000, 20),)]),
        (";GPU-a,NVIDIA,500,10:;", [(), (Grant("GPU-a", 500, 10),)]),
        (
            "GPU-a,NVIDIA,500,100:GPU-b,NVIDIA,500,100:;",
            [(Grant("GPU-a", 500, 100), Grant("GPU-b", 500, 100))],
        ),
        (";;", [(), ()]),
        ("", []),
    ],
)
def test_the_parts_of_each_container_are_written_as_hami_writes_them(annotation, grants):
    assert grants_of(annotation) == grants
    assert written(grants) == annotation


@given(lists(lists(builds(Grant, text(ascii_letters + digits + "-", min_size=1), integers(0), integers(0)))))
def test_what_is_written_is_read_again(containers):
    assert grants_of(written(containers)) == [tuple(each) for each in containers]


@pytest.mark.parametrize(
    "annotation",
    [
        "GPU-a,NVIDIA,500,10:",
        "GPU-a,NVIDIA,500,10;",
        "GPU-a,NVIDIA,500:;",
        "GPU-a,NVIDIA,much,10:;",
        ",NVIDIA,1,1:;",
    ],
)
def test_an_annotation_of_another_form_is_refused_with_the_form_that_is_wanted(annotation):
    with pytest.raises(ValueError, match="want id,NVIDIA,MiB,cores"):
        grants_of(annotation)


@given(text(max_size=60))
def test_no_text_makes_the_readers_fail_in_another_way(annotation):
    for read in (grants_of, registered):
        try:
            read(annotation)
        except ValueError:
            continue


def test_a_node_registers_its_healthy_cards():
    pool = Pool("pairs", "pairs", nodes=1, cards_per_node=2, slots=4)
    assert registered(registration("pairs-0", pool)) == {
        "GPU-pairs-0-0": Card(81_920, 4),
        "GPU-pairs-0-1": Card(81_920, 4),
    }
    ill = [{**card, "health": card["index"] == 1} for card in json.loads(registration("pairs-0", pool))]
    assert list(registered(json.dumps(ill))) == ["GPU-pairs-0-1"]


@pytest.mark.parametrize(
    ("asked", "request_"),
    [
        (limits(Share(20_000, 25)), Request(1, 20_000, 25)),
        (
            {"nvidia.com/gpu": "1", "nvidia.com/gpumem": "20k", "nvidia.com/gpucores": "25"},
            Request(1, 20_000, 25),
        ),
        (limits(Whole(2)), Request(2, None, 100)),
        ({"nvidia.com/gpu": "1", "nvidia.com/gpumem": "4Ki"}, Request(1, 4096, 0)),
        ({"nvidia.com/gpumem": "500", "nvidia.com/gpucores": "5"}, Request(1, 500, 5)),
        ({"cpu": "1"}, None),
    ],
)
def test_limits_are_read_as_hami_reads_them_after_its_webhook(asked, request_):
    assert request_of(asked) == request_
