"""Names that say nothing of a patient: a keyed hash, the key in a file of its own outside every data set.

The same series gets the same name in one workspace. Without the key nobody can find out by trial which
patient a name belongs to.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from autoseg.errors import DataError
from autoseg.system.files import atomic_path

_BYTES = 32


class Pseudonyms:
    """Pseudonyms by the key of a workspace.

    Args:
        path: the key's file, which is made where it is missing, readable for its owner alone; without one
            the key is made anew each time.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._key: bytes | None = None

    def of(self, *what: str) -> str:
        """Eight hexadecimal digits for something, always the same by one key.

        Raises:
            DataError: if the key's file is damaged.
        """
        if self._key is None:
            self._key = secrets.token_bytes(_BYTES) if self._path is None else _key_in(self._path)
        return hmac.new(self._key, "\0".join(what).encode(), hashlib.sha256).hexdigest()[:8]


def _key_in(path: Path) -> bytes:
    if not path.exists():
        with atomic_path(path) as temporary:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(_BYTES) + "\n")
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        key = b""
    if len(key) != _BYTES:
        raise DataError(
            f"{path}, the key of the pseudonyms, is damaged. Restore it; without it the same series gets "
            f"another name: then remove the file."
        )
    return key
