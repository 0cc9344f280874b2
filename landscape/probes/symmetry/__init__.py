"""Symmetries of a loss: how they are found, what curvature they prove, and the directions along them."""
