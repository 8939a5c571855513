"""Reviewing segmentations in a browser: the cases, the log of what was decided, and the local page."""
