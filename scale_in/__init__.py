"""Makes a scale-in take idle workers first, by the deletion cost of their pods.

While an HPA is about to remove pods: which of the filter's workers have least in hand, by the broker's
word, and a mark on as many of them as the HPA can take at once. Nothing else is read or written.
Why so, and what it costs: docs/adr/0010-deletion-cost.md. Rules: surge/policy/scale_in.py.
"""
