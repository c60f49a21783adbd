"""The rights of each role on the broker, and the page that tells them."""

from pathlib import Path

from surge.policy.topology import RIGHTS

PAGE = Path(__file__).parents[2] / "docs" / "topology.md"


def test_the_page_tells_the_tag_of_every_role():
    rows = {row.split(" | ")[0].removeprefix("| "): row for row in PAGE.read_text().splitlines()}
    assert [tag for role in RIGHTS for tag in RIGHTS[role]["tags"] if tag not in rows[role]] == []
