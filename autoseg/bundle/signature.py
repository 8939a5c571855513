"""Who made a bundle: its signature by the OpenSSF's model signing, with a key on an elliptic curve.

``model.sig`` in the bundle signs the hash of every other file, ``manifest.json`` among them. It is what
``model_signing sign key`` writes, and ``model_signing verify key`` checks it as well (Sigstore bundle over an
in-toto statement, https://github.com/sigstore/model-transparency). Nothing asks a network.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autoseg.bundle.archive import SIGNATURE, Bundle, BundleError
from autoseg.errors import MissingDependency, UsageError

# Of an encrypted key; on a command line everybody on the machine could read it.
PASSWORD = "AUTOSEG_SIGN_PASSWORD"


def check_can_sign(key: Path) -> None:
    """Make sure that a key signs, before a long export.

    Raises:
        MissingDependency: without the packages of ``autoseg-medical[sign]``.
        UsageError: if the key cannot be read.
    """
    _signer(key)


def sign_folder(folder: Path, key: Path) -> None:
    """Write the signature of a bundle's folder into it; the last thing that is done to a bundle.

    Args:
        folder: with its manifest.
        key: a private key in a PEM file, on the curve P-256, P-384 or P-521; the password of an encrypted one
            stands in the environment variable `PASSWORD`.

    Raises:
        MissingDependency: without the packages of ``autoseg-medical[sign]``.
        UsageError: if the key cannot be read.
    """
    folder = folder.resolve()  # paths that are left out are recorded as they lie in it
    path = folder / SIGNATURE
    hashing = _package().hashing.Config().set_ignored_paths(paths=[path], ignore_git_paths=False)
    _signer(key).set_hashing_config(hashing).sign(folder, path)


def check_signature(path: Path, key: Path) -> None:
    """Make sure that a bundle is as the owner of a key has signed it.

    Args:
        path: a folder or a zip.
        key: the public key, in a PEM file.

    Raises:
        BundleError: if it is not signed, signed with another key, or changed since; names the file.
        MissingDependency: without the packages of ``autoseg-medical[sign]``.
        UsageError: if the key cannot be read.
    """
    verifying = _package().verifying.Config()
    try:
        verifying.use_elliptic_key_verifier(public_key=key)
    except (OSError, ValueError, TypeError, AttributeError) as problem:
        raise _unusable(key, "public", problem) from None
    bundle = Bundle.open(path)
    signature = bundle.signature
    if signature is None:
        raise BundleError(
            f"{path} is not signed: it has no {SIGNATURE}. Ask whoever made it for a signed one, or leave "
            f"out the key."
        )
    with _unpacked(bundle, signature) as folder:
        try:
            verifying.verify(folder, folder.with_name(SIGNATURE))
        except Exception as problem:
            # Whatever stops the check: a signature that is none raises errors of many packages.
            raise _refused(bundle, signature, key, problem) from None


@contextmanager
def _unpacked(bundle: Bundle, signature: bytes) -> Iterator[Path]:
    """A bundle as a folder of its own, of what fits its manifest; the signature lies beside it."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "bundle"
        folder.mkdir()
        bundle.unpack(folder)
        folder.with_name(SIGNATURE).write_bytes(signature)
        yield folder


def _refused(bundle: Bundle, signature: bytes, key: Path, problem: Exception) -> BundleError:
    changed = _changed(bundle, signature)
    if changed:
        return BundleError(
            f"{bundle.path} is not what was signed: {changed[0]!r} was changed, added or removed since. "
            f"Get it from its source again."
        )
    return BundleError(
        f"{bundle.path} was not signed with the key that {key} belongs to ({type(problem).__name__}: "
        f"{str(problem)[:200]}). Ask whoever made it for the public key, or do not use it."
    )


def _changed(bundle: Bundle, signature: bytes) -> list[str]:
    """Files that are not what a signature names, as far as it can be read: it may be forged."""
    try:
        statement = json.loads(base64.b64decode(json.loads(signature)["dsseEnvelope"]["payload"]))
        signed = {str(each["name"]): str(each["digest"]) for each in statement["predicate"]["resources"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    found = bundle.hashes()
    return sorted(name for name in signed.keys() | found if signed.get(name) != found.get(name))


def _package() -> Any:
    try:
        import model_signing
    except ImportError as problem:
        raise MissingDependency(problem.name or "model-signing", "sign", "A signature") from None
    return model_signing


def _signer(key: Path) -> Any:
    password = os.environ.get(PASSWORD)
    signing = _package().signing.Config()
    try:
        secret = password.encode() if password else None
        return signing.use_elliptic_key_signer(private_key=key, password=secret)
    except (OSError, ValueError, TypeError, AttributeError) as problem:
        raise _unusable(key, "private", problem) from None


def _unusable(key: Path, kind: str, problem: Exception) -> UsageError:
    password = f" The password of an encrypted key is read from {PASSWORD}." if kind == "private" else ""
    return UsageError(
        f"{key} is no {kind} key that can be used ({str(problem)[:200]}). Give a PEM file with a {kind} key "
        f"on the curve P-256, P-384 or P-521.{password}"
    )
