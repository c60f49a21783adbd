"""Plays the kubelet's part for worker pods on simulated nodes, with real consumers.

For each pod of a filter that is scheduled: warm up, run worker/ code on a real connection to the
broker with simulated GPU work, report Ready; when the pod is deleted: drain it, then remove it.
"""
