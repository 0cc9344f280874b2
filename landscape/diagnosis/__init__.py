"""Is this trained model at a convex spot? Many probes, one answer in words, with what it cost and what it does not say."""
