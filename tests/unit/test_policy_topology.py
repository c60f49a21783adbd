"""What a fleet has on its broker, and the page that lists it."""

from pathlib import Path

import pytest

from surge.policy.topology import FilterQueue, of_filters

PAGE = (Path(__file__).parents[2] / "docs" / "topology.md").read_text()


@pytest.mark.parametrize("kind", ["exchange", "queue", "policy"])
def test_the_page_names_whatever_there_is(kind):
    shape = of_filters({"NAME": FilterQueue(name="filter.NAME", max_length=9)}, {"SET": ["NAME"]})
    rows = [line for line in PAGE.splitlines() if line.startswith(f"| {kind} ")]
    names = [item["name"] for item in shape["policies" if kind == "policy" else f"{kind}s"]]
    for name in names:
        assert any(f"`{name}`" in row.split("|")[1] for row in rows), name
