"""Trainers that are clearly behind are stopped on the way: rules, verdicts and state of a race."""
