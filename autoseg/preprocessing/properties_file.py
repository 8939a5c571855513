"""The properties of a preprocessed case: a pickle in nnU-Net's format, read as data and never as a program.

nnU-Net loads these files with Python's own pickle, which runs whatever they name. A preprocessed folder may
come from elsewhere, so only containers, numbers and numpy arrays are taken from it.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any, Final

from autoseg.errors import RunError

_NUMPY: Final = frozenset({"_reconstruct", "_frombuffer", "scalar", "ndarray", "dtype"})
_OTHERS: Final = frozenset(
    {
        ("builtins", "slice"),
        ("builtins", "set"),
        ("builtins", "frozenset"),
        ("builtins", "complex"),
        ("builtins", "bytearray"),
        ("collections", "OrderedDict"),
        ("_codecs", "encode"),
    }
)
_MODULES: Final = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric")
_NUMPY_MODULES: Final = frozenset({*_MODULES, "numpy._core.numeric"})


class _DataOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Give what builds data; everything else is refused before it is imported."""
        if (module in _NUMPY_MODULES and name in _NUMPY) or (module, name) in _OTHERS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def read_properties(path: Path) -> dict[str, Any]:
    """Read the properties of a case.

    Args:
        path: ``CASE.pkl`` of a folder of preprocessed cases.

    Raises:
        RunError: if the file is damaged, or names anything but containers, numbers and numpy arrays.
    """
    try:
        found = _DataOnly(io.BytesIO(path.read_bytes())).load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError) as problem:
        raise RunError(
            f"{path} holds no properties of a case: {problem}. Remove {path.parent} and preprocess again."
        ) from None
    if not isinstance(found, dict):
        raise RunError(
            f"{path} holds {type(found).__name__} in place of properties. Remove {path.parent} and "
            f"preprocess again."
        )
    return found
