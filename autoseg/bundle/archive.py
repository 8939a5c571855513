"""The files of a bundle: which there may be, and that they are what was written.

A bundle is a folder or a zip. Its manifest names every file with its size and SHA-256; a file that it does
not name, a link, a path that leads out of the bundle, or a file of another size or content is refused before
anything is used. No file of a bundle is run or unpickled here: networks are ONNX, all else is JSON or text.
"""

from __future__ import annotations

import hashlib
import lzma
import stat
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from autoseg.errors import RunError
from autoseg.system.documents import DocumentError, parse_json

MANIFEST = "manifest.json"
MODEL = "model.json"
SIGNATURE = "model.sig"  # of all other files, and so of the manifest; see `autoseg.bundle.signature`
FORMAT = "autoseg-bundle"
VERSION = 1

_LARGEST_DOCUMENT = 2**24  # bytes of the manifest, the signature, an edited text
_LARGEST = 2**35  # bytes of all files together
_MOST_FILES = 1000
_DEEPEST = 16  # folders within each other
_DENSEST = 200  # times smaller than unpacked; weights hardly shrink at all, text by 10
_BLOCK = 2**20
# What zipfile and its unpackers raise for files that are damaged, encrypted, or packed in a way of their own.
UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    *(KeyError, NotImplementedError, RuntimeError),
)


class BundleError(RunError):
    """A bundle cannot be used: it is not a bundle, or it is not what was written."""


@dataclass(frozen=True)
class Entry:
    """What the manifest says about a file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Bundle:
    """An opened bundle, every file of which is what its manifest says when it is read.

    Attributes:
        path: a folder or a zip.
        entries: all files but the manifest and the signature, by their path in the bundle.
        manifest: its content.
        signature: content of its file; None: the bundle is not signed. Opening it does not check who signed.
    """

    path: Path
    entries: Mapping[str, Entry]
    manifest: bytes = b""
    signature: bytes | None = None

    @classmethod
    def open(cls, path: Path, edited: Collection[str] = (), check: bool = True) -> Bundle:
        """Open a bundle and check all of it.

        Args:
            path: a folder or a zip.
            edited: files that may have another content than the manifest says; the bundle has the new one.
            check: whether the content of the files is compared now, and not by `check` or when it is read.

        Raises:
            BundleError: with the file and what is wrong with it.
        """
        if not path.exists():
            raise BundleError(f"There is no bundle {path}. Check the path.")
        sizes = dict(_listed(path))
        if MANIFEST not in sizes:
            raise BundleError(
                f"{path} is not a bundle: it has no {MANIFEST}. Give what `autoseg export` wrote."
            )
        manifest = _document(path, MANIFEST, sizes.pop(MANIFEST))
        signature = _document(path, SIGNATURE, sizes.pop(SIGNATURE)) if SIGNATURE in sizes else None
        entries = _entries(path, manifest)
        entries |= {
            name: _entry(path, name, sizes[name]) for name in edited if name in entries & sizes.keys()
        }
        bundle = cls(path, entries, manifest, signature)
        bundle._compare(sizes)
        if check:
            bundle.check()
        return bundle

    def check(self, but: Collection[str] = ()) -> None:
        """Compare the content of all files with the manifest, some excepted that are read anyway.

        Raises:
            BundleError: with the file.
        """
        for name in sorted(self.entries.keys() - set(but)):
            for _ in self._blocks(name):
                pass

    def read(self, name: str) -> bytes:
        """The content of a file, checked again.

        Raises:
            BundleError: if the manifest does not name it, or it has changed.
        """
        if name not in self.entries:
            raise BundleError(f"{self.path} has no file {name!r}. Export the model again.")
        entry = self.entries[name]
        with _opened(self.path, name) as file:
            # In one piece: joined from blocks, large weights would be copied once more.
            content = file.read(entry.size + 1)
        if len(content) != entry.size or hashlib.sha256(content).hexdigest() != entry.sha256:
            raise self._other_content(name)
        return content

    def unpack(self, folder: Path) -> None:
        """Write all files but the signature into a folder, each compared with the manifest once more.

        Raises:
            BundleError: if a file has changed, or names a path that cannot be.
        """
        (folder / MANIFEST).write_bytes(self.manifest)
        for name in self.entries:
            try:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(self.read(name))
            except OSError as problem:
                raise BundleError(f"{name!r} of {self.path} cannot be written ({problem}).") from None

    def hashes(self) -> dict[str, str]:
        """SHA-256 of all files but the signature, as they were opened."""
        known = {name: entry.sha256 for name, entry in self.entries.items()}
        return {**known, MANIFEST: hashlib.sha256(self.manifest).hexdigest()}

    def _compare(self, sizes: Mapping[str, int]) -> None:
        unknown, missing = sorted(sizes.keys() - self.entries), sorted(self.entries - sizes.keys())
        if unknown:
            raise self._broken(f"the file {unknown[0]!r}, which its manifest does not name")
        if missing:
            raise self._broken(f"no file {missing[0]!r}, which its manifest names")
        for name, entry in self.entries.items():
            if sizes[name] != entry.size:
                raise self._broken(f"{name!r} with {sizes[name]} bytes, its manifest says {entry.size}")

    def _blocks(self, name: str) -> Iterator[bytes]:
        """A file piece by piece, at most as much as announced; in the end its hash is compared."""
        entry, left = self.entries[name], self.entries[name].size
        digest = hashlib.sha256()
        with _opened(self.path, name) as file:
            while left > 0 and (block := file.read(min(_BLOCK, left))):
                digest.update(block)
                left -= len(block)
                yield block
            more = file.read(1)
        if left or more or digest.hexdigest() != entry.sha256:
            raise self._other_content(name)

    def _other_content(self, name: str) -> BundleError:
        return self._broken(f"{name!r} with another content than its manifest says")

    def _broken(self, what: str) -> BundleError:
        return BundleError(
            f"{self.path} was changed or damaged: it has {what}. Get it from its source again."
        )


def is_bundle(path: Path) -> bool:
    """Whether a path is meant as a bundle: a zip, or a folder with a manifest."""
    return (path.is_file() and path.suffix.lower() == ".zip") or (path / MANIFEST).is_file()


def listed_files(path: Path, most: int = _MOST_FILES) -> dict[str, int]:
    """Name and size of every file of a folder or zip, before any of them is read.

    Args:
        path: the folder or zip.
        most: number of files that there may be.

    Raises:
        BundleError: for a link, a path that leads out, or more than there can be.
    """
    return dict(_listed(path, most))


def manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest of a folder that is to become a bundle, and has neither manifest nor signature."""
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    return {"format": FORMAT, "version": VERSION, "files": files}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _entry(path: Path, name: str, size: int) -> Entry:
    """What a manifest would say about a file as it is, if no larger than a document can be."""
    return Entry(size, hashlib.sha256(_document(path, name, size)).hexdigest())


def _document(path: Path, name: str, size: int) -> bytes:
    """The content of the manifest, the signature or another text.

    Raises:
        BundleError: if it is larger than such a file can be.
    """
    if size > _LARGEST_DOCUMENT:
        raise BundleError(f"{name} of {path} has {size} bytes, more than {_LARGEST_DOCUMENT}. Get it again.")
    with _opened(path, name) as file:
        return file.read(size + 1)


def _entries(path: Path, content: bytes) -> dict[str, Entry]:
    """What the manifest says.

    Raises:
        BundleError: if it is not a manifest, of another version, or asks for too much.
    """
    try:
        document = parse_json(content)
        if document["format"] != FORMAT or document["version"] != VERSION:
            raise BundleError(
                f"{path} is {document['format']!r} of version {document['version']!r}; this program reads "
                f"{FORMAT!r} of version {VERSION}. Use the version of autoseg that wrote it, or a newer one."
            )
        entries = {
            name: Entry(int(each["bytes"]), str(each["sha256"])) for name, each in document["files"].items()
        }
    except (DocumentError, KeyError, TypeError, ValueError, AttributeError) as problem:
        raise BundleError(f"{path} has a manifest that cannot be read ({problem!r}). Get it again.") from None
    for name, entry in entries.items():
        _check_name(path, name)
        if not 0 <= entry.size <= _LARGEST:
            raise BundleError(f"The manifest of {path} gives {name!r} {entry.size} bytes. Get it again.")
    return entries


def _listed(path: Path, most: int = _MOST_FILES) -> Iterator[tuple[str, int]]:
    """Name and size of every file, before any of them is read.

    Raises:
        BundleError: for a link, a path that leads out, or more than there can be.
    """
    total = 0
    names: set[str] = set()
    for name, size in _in_zip(path) if path.is_file() else _in_folder(path):
        total += size
        if name in names:
            raise BundleError(f"{path} holds {name!r} twice. Get it from its source again.")
        names.add(name)
        if len(names) > most or total > _LARGEST:
            raise BundleError(
                f"{path} would take more than {most} files or {_LARGEST // 2**30} GiB. Do not use it."
            )
        yield name, size


def _in_folder(path: Path, deep: int = 1) -> Iterator[tuple[str, int]]:
    if deep > _DEEPEST:
        raise BundleError(f"{path} lies deeper than the {_DEEPEST} folders of a bundle. Do not use it.")
    try:
        children = [(child, child.lstat()) for child in sorted(path.iterdir())]
    except OSError as problem:
        raise BundleError(f"{path} cannot be read ({problem}). Check its permissions.") from None
    for child, about in children:
        if stat.S_ISDIR(about.st_mode):
            yield from ((f"{child.name}/{name}", size) for name, size in _in_folder(child, deep + 1))
        elif stat.S_ISREG(about.st_mode):
            yield child.name, about.st_size
        else:
            raise BundleError(f"{child} is a link or a special file, which a bundle has none of. Remove it.")


def _in_zip(path: Path) -> Iterator[tuple[str, int]]:
    try:
        with zipfile.ZipFile(path) as archive:
            listed = archive.infolist()
    except (*UNREADABLE, OSError, ValueError) as problem:
        raise BundleError(
            f"{path} is not a bundle: no zip that can be read ({problem}). Get it again."
        ) from None
    for info in listed:
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or info.flag_bits & 1:
            raise BundleError(
                f"{path} holds {info.filename!r}, which is a link, special or encrypted. Do not use it."
            )
        if info.file_size > _BLOCK and info.file_size > _DENSEST * info.compress_size:
            raise BundleError(
                f"{path} holds {info.filename!r}, {info.compress_size} bytes that unpack to "
                f"{info.file_size}. No file of a bundle is packed like that; do not use it."
            )
        if not (info.filename and info.is_dir()):  # is_dir() itself fails on an empty name
            _check_name(path, info.orig_filename)
            yield info.filename, info.file_size


def _check_name(path: Path, name: str) -> None:
    """Refuse what could lead out of a bundle on any system."""
    parts = name.split("/")
    if set(parts) & {"", ".", ".."} or set(name) & set("\\:\0") or len(parts) > _DEEPEST:
        raise BundleError(
            f"{path} names the file {name!r}, which is not a path within a bundle. Do not use it."
        )


@contextmanager
def _opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    """A file of a bundle; what its packing stumbles over while it is read is told as well.

    Raises:
        BundleError: naming the file.
    """
    try:
        if path.is_dir():
            with (path / name).open("rb") as file:
                yield file
            return
        with zipfile.ZipFile(path) as archive, archive.open(name) as packed:
            yield packed
    except (*UNREADABLE, OSError, ValueError) as problem:
        raise BundleError(f"{path}: {name!r} cannot be read ({problem}). Get it again.") from None
