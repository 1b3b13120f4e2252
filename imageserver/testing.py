"""Fakes for tests; they ship, so that other projects can use them, too."""
