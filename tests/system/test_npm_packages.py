"""What pages use of npm: pinned, fetched once, checked each time. A script stands in for npm."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import sys
import tarfile
from pathlib import Path

import pytest

from autoseg.system import npm_packages
from autoseg.system.npm_packages import NIIVUE, NpmPackage, PackageUnavailable, package_files

STAND_IN = """#!{python}
import pathlib, sys
source, count = pathlib.Path({source!r}), pathlib.Path({count!r})
count.write_text(count.read_text() + "x" if count.exists() else "x")
if not source.exists():
    sys.exit("npm error code ECONNREFUSED\\nnpm error syscall connect\\nnpm error no way to the registry\\n")
folder = sys.argv[sys.argv.index("--pack-destination") + 1]
(pathlib.Path(folder) / source.name).write_bytes(source.read_bytes())
"""


def archive(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as written:
        for name, content in files.items():
            about = tarfile.TarInfo(f"package/{name}")
            about.size = len(content)
            written.addfile(about, io.BytesIO(content))
    return stream.getvalue()


def pinned(content: bytes) -> NpmPackage:
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    return NpmPackage("@some/thing", "1.2.3", f"sha512-{digest}")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the stand-in for npm hands out, if it is there; beside it `count`, an x a run."""
    source = tmp_path / "registry" / "some-thing-1.2.3.tgz"
    source.parent.mkdir()
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    count = source.with_name("count")
    program.write_text(STAND_IN.format(python=sys.executable, source=str(source), count=str(count)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return source


def test_a_package_is_fetched_once_and_read_from_the_cache(registry: Path) -> None:
    content = archive({"a.js": b"one", "b/c.js": b"two", "d": b""})
    registry.write_bytes(content)
    package = pinned(content)
    for _ in range(2):
        assert package_files(package, ["b/c.js", "a.js"]) == {"a.js": b"one", "b/c.js": b"two"}
    assert registry.with_name("count").read_text() == "x"
    assert package.archive.name == registry.name


def test_an_archive_put_there_by_hand_needs_no_npm(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = archive({"a.js": b"one"})
    package = pinned(content)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PackageUnavailable, match="npm, which is not installed") as caught:
        package_files(package, ["a.js"])
    assert "npm pack @some/thing@1.2.3" in str(caught.value) and str(package.archive) in str(caught.value)
    package.archive.parent.mkdir(parents=True)
    package.archive.write_bytes(content)
    assert package_files(package, ["a.js"], fetch=False) == {"a.js": b"one"}


def test_another_content_is_neither_used_nor_stored(registry: Path) -> None:
    package = pinned(archive({"a.js": b"one"}))
    registry.write_bytes(archive({"a.js": b"evil"}))
    with pytest.raises(PackageUnavailable, match="not what this version"):
        package_files(package, ["a.js"])
    assert not package.archive.exists()


def test_a_cache_gone_bad_is_fetched_again(registry: Path) -> None:
    content = archive({"a.js": b"one"})
    package = pinned(content)
    package.archive.parent.mkdir(parents=True)
    package.archive.write_bytes(content[:-5])
    with pytest.raises(PackageUnavailable, match="not in the cache"):
        package_files(package, ["a.js"], fetch=False)
    registry.write_bytes(content)
    assert package_files(package, ["a.js"]) == {"a.js": b"one"}
    assert package.archive.read_bytes() == content


def test_npms_own_reason_is_told(registry: Path) -> None:
    with pytest.raises(PackageUnavailable, match=r"no way to the registry\. Check the network"):
        package_files(pinned(b""), ["a.js"])


def test_a_file_that_is_not_there_is_named(registry: Path) -> None:
    content = archive({"a.js": b"one"})
    registry.write_bytes(content)
    with pytest.raises(PackageUnavailable, match=r"no file nothing\.js"):
        package_files(pinned(content), ["nothing.js"])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm and a network")
def test_niivue_is_what_was_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = package_files(NIIVUE, ["package.json", "dist/niivue.umd.js"])
    assert b'"0.69.0"' in found["package.json"] and len(found["dist/niivue.umd.js"]) > 1_000_000
    assert NIIVUE.archive.is_file() and npm_packages.cache_folder() in NIIVUE.archive.parents
