"""Contracts as checks that others can run on their own parts, and operators whose spectrum is known."""
