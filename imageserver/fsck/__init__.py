"""Checks the data directories while no daemon uses them: ``docs/operations.md``.

Objects are read, images are read, then both are compared with the index. Nothing is
changed unless that is asked for.
"""
