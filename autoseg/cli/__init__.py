"""The command line: one file for each group of subcommands. Each parses, calls the library and prints."""

from autoseg.cli.app import main

__all__ = ["main"]
