"""What a bundle may hold: nothing that its manifest does not name, and nothing that was changed."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from bundle_files import DESCRIPTION, FILES, bundle_folder
from hypothesis import given
from hypothesis import strategies as st

from autoseg.bundle.archive import Bundle, BundleError, manifest_of
from autoseg.bundle.description import Description


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle as a folder."""
    return bundle_folder(tmp_path / "bundle")


def packed(folder: Path, **more: bytes) -> Path:
    """The same as a zip, with more files."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in sorted(folder.rglob("*")):
            if each.is_file():
                archive.write(each, each.relative_to(folder).as_posix())
        for name, content in more.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("form", [lambda folder: folder, packed])
def test_a_whole_bundle_opens(folder: Path, form: Callable[[Path], Path]) -> None:
    bundle = Bundle.open(form(folder))
    assert {name: bundle.read(name) for name in bundle.entries} == FILES
    with pytest.raises(BundleError, match="no file 'other'"):
        bundle.read("other")


@pytest.mark.parametrize("form", [lambda folder: folder, packed])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: (root / "more.pkl").write_bytes(b"x"), "'more.pkl', which its manifest does not name"),
        (lambda root: (root / "card.md").unlink(), "no file 'card.md'"),
        (lambda root: (root / "card.md").write_bytes(b"# B card"), "'card.md' with another content"),
        (lambda root: (root / "card.md").write_bytes(b"# A longer card"), "15 bytes, its manifest says 8"),
        (lambda root: (root / "manifest.json").unlink(), r"no manifest\.json"),
        (lambda root: (root / "manifest.json").write_text("{"), "manifest that cannot be read"),
        (lambda root: (root / "manifest.json").write_text("[]"), "manifest that cannot be read"),
    ],
)
def test_what_was_changed_is_refused(
    folder: Path, form: Callable[[Path], Path], change: Callable[[Path], object], said: str
) -> None:
    change(folder)
    with pytest.raises(BundleError, match=said):
        Bundle.open(form(folder))


def test_a_newer_version_is_named(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))
    with pytest.raises(BundleError, match=r"version 2; this program reads .* version 1"):
        Bundle.open(folder)


def test_links_are_refused(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(FILES["card.md"])
    (folder / "card.md").unlink()
    (folder / "card.md").symlink_to(outside)
    with pytest.raises(BundleError, match="link or a special file"):
        Bundle.open(folder)
    path = tmp_path / "linked.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("card.md")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, str(outside))
    with pytest.raises(BundleError, match="link, special or encrypted"):
        Bundle.open(path)


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(BundleError, match="link or a special file"):
        Bundle.open(folder)


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "a\\..\\out", "C:out", "a//b", "./a"])
def test_paths_that_lead_out_are_refused(folder: Path, name: str) -> None:
    with pytest.raises(BundleError, match="path within a bundle"):
        Bundle.open(packed(folder, **{name: b"x"}))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = manifest["files"].pop("card.md")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="path within a bundle"):
        Bundle.open(folder)


def test_a_bomb_is_not_unpacked(folder: Path) -> None:
    with pytest.raises(BundleError, match="unpack to 4194304"):
        Bundle.open(packed(folder, zeros=bytes(2**22)))


def test_folders_within_folders_have_an_end(folder: Path) -> None:
    deep = "/".join("d" * 16)
    with pytest.raises(BundleError, match="path within a bundle"):
        Bundle.open(packed(folder, **{f"{deep}/a": b"x"}))
    (folder / deep).mkdir(parents=True)
    with pytest.raises(BundleError, match="deeper than the 16 folders"):
        Bundle.open(folder)


def test_a_name_that_is_file_and_folder_is_not_unpacked(folder: Path, tmp_path: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["card.md/a"] = manifest["files"]["card.md"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    bundle = Bundle.open(packed(folder, **{"card.md/a": FILES["card.md"]}))
    (tmp_path / "out").mkdir()
    with pytest.raises(BundleError, match=r"card\.md.* cannot be written"):
        bundle.unpack(tmp_path / "out")


def test_too_many_files_are_refused(folder: Path) -> None:
    with pytest.raises(BundleError, match="more than 1000 files"):
        Bundle.open(packed(folder, **{f"n{number}": b"" for number in range(1001)}))


def test_a_name_that_is_there_twice_is_refused(folder: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        path = packed(folder, **{"card.md": b"# C card"})
    with pytest.raises(BundleError, match=r"'card\.md' twice"):
        Bundle.open(path)


def test_what_is_no_bundle_says_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="There is no bundle"):
        Bundle.open(tmp_path / "nothing")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(BundleError, match="no zip that can be read"):
        Bundle.open(tmp_path / "text.zip")
    with pytest.raises(BundleError, match=r"no manifest\.json"):
        Bundle.open(tmp_path)


@given(st.data())
def test_any_damage_to_a_zip_is_a_bundle_error_or_none(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "bundle"
        for name, content in FILES.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        (root / "manifest.json").write_text(json.dumps(manifest_of(root)))
        path = packed(root)
        changed = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            spot = data.draw(st.integers(0, len(changed) - 1))
            changed[spot] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(changed)
        try:
            bundle = Bundle.open(path)
            assert all(bundle.read(name) == FILES[name] for name in bundle.entries)
        except BundleError as problem:
            assert str(problem)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("members", []),
        ("members", {}),
        ("name", {}),
        ("channels", "MR"),
        ("channels", []),
        ("file_ending", None),
        ("file_ending", "../x"),
        ("labels", {"names": {"background": 0}, "region_order": [], "ignore": "x"}),
        ("labels", {"names": [], "region_order": None, "ignore": None}),
        ("labels", None),
    ],
)
def test_an_odd_entry_of_the_description_is_told(entry: str, value: object) -> None:
    with pytest.raises(BundleError, match=r"model\.json is not valid"):
        Description.from_json({**DESCRIPTION, "members": [{}], entry: value})
