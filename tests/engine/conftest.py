import os

import pytest


@pytest.fixture(autouse=True)
def _no_output_as_text(monkeypatch):
    # An Output in an f-string becomes a sentence about apply(); here it is an error instead.
    monkeypatch.setitem(os.environ, "PULUMI_ERROR_OUTPUT_STRING", "true")
