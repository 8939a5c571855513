"""Packages of npm that pages use: a pinned version, fetched at first use, checked by its hash at every use.

None of them lies in this project. `npm pack` fetches the archive into the user's cache, where it stays; a
machine without a network is given the archive by hand. Files are read from the archive itself, so what is
used is what was hashed.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from autoseg.errors import AutosegError
from autoseg.system.files import atomic_path

# A slow hospital network gets 10 MB through in this time; a blocked one must not hold a page for longer.
SECONDS: Final = 180
_OPTIONS: Final = ("--ignore-scripts", "--fetch-retries=1", "--no-fund", "--no-audit", "--no-update-notifier")
_MOST_BYTES: Final = 512 * 2**20
_ROOT: Final = "package/"  # of every archive that npm makes


class PackageUnavailable(AutosegError):
    """A package is neither in the cache nor can it be fetched."""


@dataclass(frozen=True)
class NpmPackage:
    """One version of a package.

    Attributes:
        name: as npm has it, with its scope.
        version: the one version that is used.
        integrity: of the archive, ``sha512-`` and base64, as npm's lock files and
            ``npm view NAME@VERSION dist.integrity`` give it.
    """

    name: str
    version: str
    integrity: str

    @property
    def specification(self) -> str:
        """What npm fetches it by."""
        return f"{self.name}@{self.version}"

    @property
    def archive(self) -> Path:
        """Where it lies in the cache, under the file name that ``npm pack`` gives it."""
        return cache_folder() / f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


NIIVUE: Final = NpmPackage(
    "@niivue/niivue",
    "0.69.0",
    "sha512-YMjQvJgD1W2b7DuoxkwlC4VxbrgIePRJ5qyQzXKxi2v2MBVg285P/CIQyg46oDDGDIcaNlbd+MhtO/edMbXJkA==",
)


def cache_folder() -> Path:
    """Where the archives of this user are kept."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "autoseg" / "npm"


def package_files(package: NpmPackage, names: Iterable[str], fetch: bool = True) -> dict[str, bytes]:
    """Files of a package, which is fetched if it is not in the cache.

    Args:
        package: the version that is wanted.
        names: paths inside the package, such as ``dist/niivue.umd.js``.
        fetch: whether npm may be run; if not, only the cache counts.

    Returns:
        The content of each file.

    Raises:
        PackageUnavailable: if there is no npm, no network, or the archive is not the one that was pinned.
    """
    wanted = dict.fromkeys(names)
    content = _cached(package)
    if content is None and fetch:
        content = _fetched(package)
    if content is None:
        raise PackageUnavailable(f"{package.specification} is not in the cache. {_by_hand(package)}")
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            name = member.name.removeprefix(_ROOT)
            if name in wanted and member.isreg() and (opened := archive.extractfile(member)) is not None:
                found[name] = opened.read()
    if missing := [name for name in wanted if name not in found]:
        raise PackageUnavailable(
            f"{package.specification} has no file {', '.join(missing)}. This version of autoseg was made for "
            f"other files: report it."
        )
    return found


def _cached(package: NpmPackage) -> bytes | None:
    """The archive in the cache; None where there is none, or one of another content."""
    try:
        if package.archive.stat().st_size > _MOST_BYTES:
            return None
        content = package.archive.read_bytes()
    except OSError:
        return None
    return content if _integrity(content) == package.integrity else None


def _fetched(package: NpmPackage) -> bytes:
    program = shutil.which("npm")
    if program is None:
        raise PackageUnavailable(
            f"{package.specification} is fetched by npm, which is not installed. Install Node.js, which "
            f"brings npm. {_by_hand(package)}"
        )
    # Not the present folder: a project's own .npmrc there is not the user's word.
    with tempfile.TemporaryDirectory(prefix="autoseg-npm-", ignore_cleanup_errors=True) as folder:
        command = [program, "pack", package.specification, "--pack-destination", folder, *_OPTIONS]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                timeout=SECONDS,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
            )
        except subprocess.TimeoutExpired:
            raise PackageUnavailable(
                f"npm did not fetch {package.specification} within {SECONDS} s. Check the network. "
                f"{_by_hand(package)}"
            ) from None
        path = Path(folder) / package.archive.name
        if done.returncode or not path.is_file():
            raise PackageUnavailable(
                f"npm could not fetch {package.specification}: {_reason(done.stderr)}. Check the network and "
                f"npm's settings. {_by_hand(package)}"
            )
        content = path.read_bytes()
    if _integrity(content) != package.integrity:
        raise PackageUnavailable(
            f"What npm fetched as {package.specification} is not what this version of autoseg was tested "
            f"with: its hash is {_integrity(content)}, expected {package.integrity}. Ask who runs the "
            f"registry that npm uses (npm config get registry)."
        )
    # A home that cannot be written to costs a download the next time, no more.
    with suppress(OSError), atomic_path(package.archive) as temporary:
        temporary.write_bytes(content)
    return content


def _integrity(content: bytes) -> str:
    return f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode('ascii')}"


def _reason(complaint: str) -> str:
    """Of what npm says the line that tells why."""
    lines = [line.removeprefix("npm error").strip() for line in complaint.splitlines()]
    told = [line for line in lines if line and not line.startswith(("code ", "syscall ", "errno ", "at "))]
    return (told[0] if told else "it does not say why").rstrip(".")


def _by_hand(package: NpmPackage) -> str:
    return (
        f"Without a network: run `npm pack {package.specification}` on a machine that has one and put the "
        f"file at {package.archive}."
    )
