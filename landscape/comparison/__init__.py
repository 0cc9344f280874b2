"""Comparing swap criteria: one first phase per seed, a branch for each distinct swap point, paired statistics."""
