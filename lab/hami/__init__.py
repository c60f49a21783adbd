"""Plays HAMi on simulated nodes: its scheduler extender, and the device plugin that acknowledges.

Our own implementation of the protocol, on the fit rules of surge/policy/gpu. kube-scheduler asks /filter for
the node and cards of a pod and /bind to send it there; then the acker says that the containers have them.
"""
