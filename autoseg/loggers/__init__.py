"""Loggers, one file each; the file's name is the logger's name.

A file has one class, derived from `autoseg.training.Logger`. Others come from the entry point group
``autoseg.loggers`` of any package, or from the path of a Python file.
"""
