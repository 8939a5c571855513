"""What can go wrong, as a family tree::

    AutosegError
    ├── UsageError          the call does not make sense (exit status 2)
    ├── DataError           a raw data set, an image or a label is at fault
    ├── PlanError           no plan can be made, or a plan cannot be read
    ├── RunError            training or prediction cannot go on
    └── MissingDependency   an optional package is needed

Callers catch the level they care about::

    try:
        dataset = load_dataset(root)
    except DataError as error:
        ...
"""

from __future__ import annotations

# What pip calls autoseg: PyPI's `autoseg` is another program, with the same command word.
DISTRIBUTION = "autoseg-medical"


class AutosegError(Exception):
    """Base of all errors that a user can do something about.

    The message names the value found, what was expected and the next step.
    """

    exit_status = 1


class UsageError(AutosegError):
    """The request itself is wrong: an unknown name, options that exclude each other."""

    exit_status = 2


class DataError(AutosegError):
    """A raw data set, an image or a label is at fault."""


class PlanError(AutosegError):
    """No plan can be made from what is there, or a plan cannot be read."""


class RunError(AutosegError):
    """A training or a prediction cannot go on."""


class MissingDependency(AutosegError):
    """An optional package is not installed.

    Args:
        package: what is missing.
        extra: the extra of autoseg that brings it.
        purpose: what it is needed for.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        what = f"'{DISTRIBUTION}[{extra}]'" if _is_installed() else package
        super().__init__(f"{purpose} needs the package {package!r}. Install it: pip install {what}")


def _is_installed() -> bool:
    """Whether pip knows autoseg here; where the runner of a bundle predicts it need not."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        version(DISTRIBUTION)
    except PackageNotFoundError:
        return False
    return True
