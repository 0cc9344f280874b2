"""Experiments from one configuration: training, diagnosing a run, comparing swap criteria."""
