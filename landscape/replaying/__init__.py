"""Recorded runs, asked again: when each policy would have fired, why, and at what price."""
