"""An entry goes into a file as a person would put it there."""

import pytest
import yaml

from surge.model.insertion import inserted

ENTRY = {"image": "x", "max": 3}
ADDED = ["  new:", "    image: x", "    max: 3"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("filters:\n  a:\n    max: 1\n", 3),
        ("filters:\n  a: {max: 1}\n", 2),
        ("filters:\n  a: {max: 1} # last\n\n# to come\n", 2),
        ("filters:\n  a:\n    owner: |\n      two\n      lines\n\noverrides: []\n", 6),
        ("filters:\n  a:\n    runs-in:\n    - cloud\n    # why\ndefaults:\n  batch: {slots: 1}\n", 4),
        ("filters:\n  a:\n    owner: 'over\n      lines'\n# end", 4),
        ("filters:\n  a:\n", 2),
        ("filters:\n  a: {\n    max: 1,\n    }\n# end\n", 4),
    ],
)
def test_it_stands_behind_the_last_line_of_the_last_entry(text, place):
    lines = text.removesuffix("\n").split("\n")
    assert inserted(text, "new", ENTRY).split("\n") == [*lines[:place], *ADDED, *lines[place:], ""]
    whole = yaml.safe_load(inserted(text, "new", ENTRY))
    assert whole["filters"].pop("new") == ENTRY
    assert whole == yaml.safe_load(text)


def test_it_stands_behind_the_entry_it_is_like_at_the_indentation_of_the_file():
    text = "filters:\n    a: {max: 1}\n    b: {max: 2}\n"
    assert inserted(text, "new", {"max": 3}, after="a").split("\n") == [
        "filters:",
        "    a: {max: 1}",
        "    new:",
        "      max: 3",
        "    b: {max: 2}",
        "",
    ]


def test_keys_stand_in_the_order_of_the_reference_and_names_are_quoted_where_yaml_needs_it():
    text = inserted("", "no", {"owner": "7", "max": 2, "image": "x"})
    assert text == "filters:\n  'no':\n    image: x\n    max: 2\n    owner: '7'\n"


@pytest.mark.parametrize("text", ["filters: {a: {max: 1}}", "defaults: {}", "- 1", "filters: {}", "filters:"])
def test_a_file_without_a_block_of_filters_is_left_to_people(text):
    with pytest.raises(ValueError, match="no block `filters:`"):
        inserted(text, "new", ENTRY)
