"""Trees of files on this machine: how they become file systems, and the other way."""
