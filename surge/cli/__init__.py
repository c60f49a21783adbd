"""The `surge` command."""

from surge.cli.app import app

__all__ = ["app"]
