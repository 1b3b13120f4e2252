"""What can be derived from the files, kept in SQLite so that starting is instant.

The files are the truth: a lost or damaged index is rebuilt from them.
"""
