"""The last line of defence: an error that nobody foresaw becomes one line, a log file and an exit status."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import traceback
from pathlib import Path

import typer

from autoseg import __version__

# sysexits.h: an error of the program itself, not of its input.
UNEXPECTED = 70
REFUSED_BY_SYSTEM = 1
# The folder of the log files; without it the system's folder for temporary files.
LOGS_VARIABLE = "AUTOSEG_ERROR_LOGS"


def report_unexpected(error: BaseException) -> int:
    """Tell the user about an error that is no `AutosegError`, without a traceback on the terminal.

    What the operating system refuses (permissions, a full disk, a missing folder) is reported with its path
    and what to do. Anything else is a fault of autoseg: the traceback goes to a log file.

    Returns:
        The exit status: 1 for the operating system's refusals, 70 otherwise.
    """
    if isinstance(error, OSError) and error.strerror:
        typer.echo(f"autoseg: {system_words(error)}", err=True)
        return REFUSED_BY_SYSTEM
    kind = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    typer.echo(
        f"autoseg: an error that was not foreseen: {kind}. {_logged(error)} Please report it with that file. "
        f"Finished work stays. Run the same command again to go on.",
        err=True,
    )
    return UNEXPECTED


def system_words(error: OSError) -> str:
    """What the operating system refused, where, and what to do about it."""
    remedies = {
        PermissionError: "Check the owner and the permissions, or choose another folder.",
        FileNotFoundError: "Check the path; a link may point to nothing.",
        IsADirectoryError: "Give a file, not a folder.",
        NotADirectoryError: "A part of the path is a file. Check the path.",
        FileExistsError: "Something of another kind has this name. Move it away, or choose another name.",
    }
    default = "Check the disk: is it full, or no longer there?"
    remedy = next((words for kind, words in remedies.items() if isinstance(error, kind)), default)
    where = f"{error.filename}: " if error.filename is not None else ""
    return f"{where}{error.strerror}. {remedy}"


def _logged(error: BaseException) -> str:
    text = "".join(
        [
            f"autoseg {__version__}, Python {platform.python_version()}, {platform.platform()}\n",
            f"command: {' '.join(sys.argv[1:])}\n\n",
            *traceback.format_exception(error),
        ]
    )
    place = os.environ.get(LOGS_VARIABLE) or None
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", prefix="autoseg_error_", suffix=".log", delete=False, dir=place
        ) as file:
            file.write(text)
        return f"The details are in {Path(file.name)}."
    except OSError:
        return "The details could not be written to a file."
