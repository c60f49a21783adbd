"""Watches whether both containers of every pair really share a card.

HAMi says in the annotation `hami.io/vgpu-devices-allocated` which cards a pod's containers got. The rules
that keep a pair on one card are surge/policy/gpu/admission.py; this tells if they ever fail to.
"""
