"""The `surge` command."""
