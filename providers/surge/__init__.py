"""The project's own Pulumi provider: local processes, certificates, broker topology."""
