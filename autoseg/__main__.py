"""python -m autoseg."""

from autoseg.cli.app import main

main()
