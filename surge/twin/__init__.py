"""The twin: a simulator of one filter that runs the project's own policy functions.

The law is no copy: the twin keeps the same History and calls the same function as the metric server.
"""

from surge.twin.loop import Outcome, Scenario, simulate

__all__ = ["Outcome", "Scenario", "simulate"]
