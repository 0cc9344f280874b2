"""What a batch's loss is computed by, and how much it counts in the mean over all data."""
