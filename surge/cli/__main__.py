"""`python -m surge.cli`."""

from surge.cli import app

app(prog_name="surge")
