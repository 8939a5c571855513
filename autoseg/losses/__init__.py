"""Losses of the trainers."""
