"""Following a master: ``docs/architecture.md``, "Replication"."""
