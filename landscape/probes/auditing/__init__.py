"""Whether a negative curvature is real, noise of the sample, rounding, or a kink."""
