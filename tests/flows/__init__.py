"""Flows under failure."""
