"""What can be said from a few paired seeds: regret, location, intervals, tests, profiles and rank correlation."""
