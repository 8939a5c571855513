"""A plug-in that is a Python file: how it is imported, and how it is found again later."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from autoseg.errors import AutosegError, RunError, UsageError

log = logging.getLogger(__name__)

# Folders that are searched for a plug-in's file where it does not lie any more where it lay.
FOLDERS_VARIABLE = "AUTOSEG_PLUGINS"
MODULE_PREFIX = "autoseg_plugin_"


@dataclass(frozen=True)
class PluginFile:
    """A plug-in's file as a plan remembers it.

    Attributes:
        path: absolute.
        sha256: SHA-256 of the file's content, hexadecimal.
    """

    path: Path
    sha256: str

    @classmethod
    def of(cls, path: Path | str) -> PluginFile:
        """The file as it is now.

        Raises:
            UsageError: if there is none.
        """
        place = Path(path).absolute()
        try:
            return cls(place, hashlib.sha256(place.read_bytes()).hexdigest())
        except OSError:
            raise UsageError(f"There is no file {path}. Check the path of the plug-in.") from None

    @classmethod
    def from_json(cls, document: Mapping[str, str]) -> PluginFile:
        """Read what `to_json` gave."""
        return cls(Path(document["path"]), document["sha256"])

    def to_json(self) -> dict[str, str]:
        """Path and digest."""
        return {"path": str(self.path), "sha256": self.sha256}

    def located(self, used_by: str) -> Path:
        """Where the file is now: where it was, else in one of the folders of ``AUTOSEG_PLUGINS``.

        A file whose content has changed is taken, with a warning: a comment is a change too.

        Args:
            used_by: who needs it, for messages: ``the model X``.

        Raises:
            RunError: if it is nowhere.
        """
        folders = filter(None, os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep))
        places = [self.path, *(Path(folder) / self.path.name for folder in folders)]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise RunError(
                f"{used_by} needs the plug-in {self.path}, and there is no such file any more. Put it back, "
                f"or name the folder that holds {self.path.name} now: {FOLDERS_VARIABLE}=FOLDER."
            )
        if (now := PluginFile.of(found).sha256) != self.sha256:
            log.warning(
                "%s has changed since %s was made: its SHA-256 was %s and is %s. Restore it if the network "
                "or its results are not what they were.",
                *(found, used_by, self.sha256[:12], now[:12]),
            )
        return found


def load_file(path: Path) -> ModuleType:
    """Import a plug-in's file; the same file is imported once, and again where its content has changed.

    Its module is called ``autoseg_plugin_`` and the file's name, so that a plan can name a class of it.

    Raises:
        UsageError: if it cannot be imported; the message gives place and reason.
    """
    file = PluginFile.of(path)
    module = _imported(file)
    sys.modules[module.__name__] = module
    return module


class _FromSource(SourceFileLoader):
    """Compiles the file as it is: no stored byte code is taken for it, and none is written beside it."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


@functools.cache
def _imported(file: PluginFile) -> ModuleType:
    name = MODULE_PREFIX + file.path.stem
    loader = _FromSource(name, str(file.path))
    spec = importlib.util.spec_from_file_location(name, file.path, loader=loader)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file.path} cannot be imported as a Python module. Give the path of a .py file.")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    # Classes look their own module up while they are made.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as problem:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise UsageError(f"{file.path}{_place(problem, file.path)} {_in_words(problem)}") from problem
    return module


def _place(problem: Exception, path: Path) -> str:
    """The line of the file at which importing it ended."""
    line = getattr(problem, "lineno", None) if isinstance(problem, SyntaxError) else None
    trace = problem.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return ":" if line is None else f", line {line}:"


def _in_words(problem: Exception) -> str:
    if isinstance(problem, AutosegError):
        return str(problem)
    return f"importing it ended with {type(problem).__name__}: {problem}. Correct the file."
