"""`python -m lab.spike`: play a spike on a running stack, watch it, account for every message."""
