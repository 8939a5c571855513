"""Trainers, architectures, metrics, layouts, engines, loggers by name: built in, installed, or one's own.

Each family has a folder in autoseg, where the file's name is the plug-in's name, and an entry point group of
the same name for packages of others: ``autoseg.trainers``, ``autoseg.architectures``, ``autoseg.metrics``,
``autoseg.layouts``, ``autoseg.engines``, ``autoseg.loggers``. Wherever a name is taken, the path of a
Python file is taken too. Nothing is imported before it is needed, and there is no list to edit.
"""

from autoseg.plugins.files import PluginFile
from autoseg.plugins.registry import (
    BUILT_IN,
    FAMILIES,
    Family,
    available,
    built_in,
    find,
    find_class,
    origins,
    trainer_class,
    trainer_name,
    trainer_of_plan,
)

__all__ = [
    "BUILT_IN",
    "FAMILIES",
    "Family",
    "PluginFile",
    "available",
    "built_in",
    "find",
    "find_class",
    "origins",
    "trainer_class",
    "trainer_name",
    "trainer_of_plan",
]
