"""First phase, policy, second phase: a training run that survives being killed."""
