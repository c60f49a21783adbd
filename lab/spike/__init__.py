"""Replays a spike on a running stack, watches it, and accounts for every message."""
