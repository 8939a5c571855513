"""The properties of a preprocessed case: a pickle in nnU-Net's format, read as data and never as a program.

nnU-Net loads these files with Python's own pickle, which runs whatever they name. A preprocessed folder may
come from elsewhere, so only containers, numbers and numpy arrays are taken from it.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any, Final

from autoseg.errors import RunError

# What Python's own reader raises for damage. It takes memory for a length before it sees that the file ends.
_DAMAGED: Final = (
    *(pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError),
    *(OverflowError, MemoryError, RecursionError),
)
_NUMPY: Final = frozenset({"_reconstruct", "_frombuffer", "scalar", "ndarray", "dtype"})
_OTHERS: Final = frozenset(
    {
        ("builtins", "slice"),
        ("builtins", "set"),
        ("builtins", "frozenset"),
        ("builtins", "complex"),
        ("collections", "OrderedDict"),
        ("_codecs", "encode"),
    }
)
_MODULES: Final = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric")
_NUMPY_MODULES: Final = frozenset({*_MODULES, "numpy._core.numeric"})


class _DataOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Give what builds data; everything else is refused before it is imported."""
        if (module, name) == ("builtins", "bytearray"):
            return _bytearray
        if (module in _NUMPY_MODULES and name in _NUMPY) or (module, name) in _OTHERS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _bytearray(*arguments: Any) -> bytearray:
    """Of bytes or a text; with a number, a few bytes of a file would take as much memory as they say."""
    if arguments and isinstance(arguments[0], int):
        raise pickle.UnpicklingError("it takes memory for what it does not hold")
    return bytearray(*arguments)


def _check_places(content: bytes) -> None:
    """Refuse numbers of stored values that no file of this size has: the list of them would be as long."""
    for operation, argument, _ in pickletools.genops(content):
        if operation.name == "LONG_BINPUT" and argument is not None and argument > len(content):
            raise pickle.UnpicklingError(f"it stores a value as number {argument}")


def read_properties(path: Path) -> dict[str, Any]:
    """Read the properties of a case.

    Args:
        path: ``CASE.pkl`` of a folder of preprocessed cases.

    Raises:
        RunError: if the file is damaged, or names anything but containers, numbers and numpy arrays.
    """
    content = path.read_bytes()
    try:
        _check_places(content)
        found = _DataOnly(io.BytesIO(content)).load()
    except _DAMAGED as problem:
        said = str(problem) or type(problem).__name__
        raise RunError(
            f"{path} holds no properties of a case: {said}. Remove {path.parent} and preprocess again."
        ) from None
    if not isinstance(found, dict):
        raise RunError(
            f"{path} holds {type(found).__name__} in place of properties. Remove {path.parent} and "
            f"preprocess again."
        )
    return found
