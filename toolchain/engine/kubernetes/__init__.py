"""The bundled `kubernetes` provider plugin: one path for every kind, tables for what differs.

wire      property values on Pulumi's wire <-> plain Python
kinds     tokens, what is refused, fields that force a replacement
naming    names and annotations
diffs     what a program changed, and what drifted
states    what is kept of an object in Pulumi's state
settings  the provider's configuration
cluster   the API server: discovery, apply, read, delete
problems  every refusal as one readable line
readiness rules, one per kind, that say when an object is ready
waiting   waits that report, time out, and stop at once when cancelled
provider  the gRPC service over all of these
"""
