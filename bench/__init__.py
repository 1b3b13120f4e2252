"""Measurements: ``make bench`` lists them."""
