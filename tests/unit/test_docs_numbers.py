"""The tables in docs/ are what the functions give today."""

import pytest

from lab.numbers import PAGES, PLACE, TABLES, refreshed


@pytest.mark.long
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_shows_the_numbers_of_today(page):
    text = page.read_text()
    assert text == refreshed(text), "stale: run `python -m lab.numbers --write`, and read what it changed"


def test_every_table_has_a_page():
    shown = {found[1] for page in PAGES for found in PLACE.findall(page.read_text())}
    assert shown == TABLES.keys()
