"""Watching a training loop that somebody else has written."""
