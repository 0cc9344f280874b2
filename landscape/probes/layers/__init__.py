"""Curvature layer by layer."""
