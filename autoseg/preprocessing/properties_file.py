"""The properties of a preprocessed case: a pickle in nnU-Net's format, read as data and never as a program.

nnU-Net loads these files with Python's own pickle, which runs whatever they name. A preprocessed folder may
come from elsewhere, so only containers, numbers and numpy arrays are taken from it. Arrays are put together
here: numpy's own functions take types and sizes from a file as they are, and damaged ones end the process.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autoseg.errors import RunError

# What Python's own reader raises for damage. It takes memory for a length before it sees that the file ends.
_DAMAGED: Final = (
    *(pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError),
    *(OverflowError, MemoryError, RecursionError, SystemError),
)
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
# Kinds of numbers and texts: byte order, kind, bytes.
_TYPE: Final = re.compile(r"[<>|=]?[biufcSU?][0-9]{0,4}")


class _Type:
    """A dtype by its code. numpy's own takes from a file whatever it is given, and can end the process."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not (isinstance(code, str) and _TYPE.fullmatch(code)):
            raise pickle.UnpicklingError(f"it names the type {code!r:.40}")
        self.found = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if not (isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "=")):
            raise pickle.UnpicklingError("it holds a type without a byte order")
        self.found = self.found.newbyteorder(state[1])


class _Array(np.ndarray[Any, Any]):
    """An array that is filled after it was made, as pickles do; of the right size, or not at all."""

    def __setstate__(self, state: Any) -> None:  # type: ignore[override]  # numpy's takes what fits
        _, shape, kind, by_columns, content = state
        found = _array(content, kind, shape, "F" if by_columns else "C")
        filled: Any = (1, found.shape, found.dtype, bool(by_columns), found.tobytes("A"))
        super().__setstate__(filled)


def _array(content: Any, kind: Any, shape: Any, order: Any) -> NDArray[Any]:
    """An array of bytes that are as many as its shape says."""
    if not (isinstance(kind, _Type) and isinstance(content, bytes | bytearray) and order in ("C", "F")):
        raise pickle.UnpicklingError("it holds an array of no numbers")
    if not (isinstance(shape, tuple) and all(type(length) is int and length >= 0 for length in shape)):
        raise pickle.UnpicklingError("it holds an array without a shape")
    if len(content) != prod(shape) * kind.found.itemsize:
        raise pickle.UnpicklingError(f"it holds an array of {shape} in {len(content)} bytes")
    return np.frombuffer(bytes(content), kind.found).reshape(shape, order=order)


def _scalar(kind: Any, content: Any) -> Any:
    return _array(content, kind, (1,), "C")[0]


def _frombuffer(content: Any, kind: Any, shape: Any, order: Any) -> NDArray[Any]:
    return _array(content, kind, shape, order).copy(order)


def _empty(*_: Any) -> NDArray[Any]:
    return np.ndarray.__new__(_Array, (0,), np.int8)


# What stands in a file in place of numpy's own functions.
_NUMPY: Final[dict[str, Any]] = {
    "_reconstruct": _empty,
    "_frombuffer": _frombuffer,
    "scalar": _scalar,
    "ndarray": _Array,
    "dtype": _Type,
}


class _DataOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Give what builds data; everything else is refused before it is imported."""
        if (module, name) == ("builtins", "bytearray"):
            return _bytearray
        if module in _NUMPY_MODULES and name in _NUMPY:
            return _NUMPY[name]
        if (module, name) in _OTHERS:
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
