"""The object store: immutable bytes, named by their SHA-512."""
