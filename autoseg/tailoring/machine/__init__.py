"""The machine model: measured once, read from the user's cache, corrected by every training since."""
