"""A folder that segments in a browser: what it holds, and that it gives the labels that the bundle gives."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromium
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import write_series
from model_folders import ABOUT, REGIONS, SLICE, model_folder, write_volume

from autoseg.bundle.archive import BundleError, manifest_of
from autoseg.bundle.folder import segment_folder
from autoseg.bundle.segment import Segmenter
from autoseg.errors import RunError, UsageError
from autoseg.export import export_bundle, export_web, to_web
from autoseg.postprocessing.rules import Postprocessing, Rule
from autoseg.system.files import read_json, write_json
from autoseg.system.npm_packages import PackageUnavailable

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
PARTS = {
    name: f"// {name}".encode()
    for name in ("ort.js", "runtime.mjs", "runtime.wasm", "dicom.js", "dicom.txt", "niivue.js")
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("bundle")
    return export_bundle(model_folder(home, "unet", "2d"), home / "bundle")


def embedded(folder: Path) -> dict[str, bytes]:
    """What stands in the scripts of a page, by name."""
    found: dict[str, bytes] = {}
    for script in re.findall(r'<script src="(files/[^"]+)">', (folder / "index.html").read_text()):
        text = (folder / script).read_text()
        (name,) = set(re.findall(r'autosegFiles\["([^"]+)"\]', text))
        pieces = json.loads(text[text.index("push(...") + 8 : text.rindex(")")])
        found[name] = found.get(name, b"") + b"".join(map(base64.b64decode, pieces))
    return found


def test_the_folder_holds_all_that_the_page_needs(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(to_web, "vendored", lambda: PARTS)
    monkeypatch.setattr(to_web, "_PIECE", 3000)
    folder = export_web(bundle, tmp_path / "page")
    found = embedded(folder)
    network = "networks/member0_network0.onnx"
    assert found[network] == (bundle / network).read_bytes()
    assert gzip.decompress(found["runtime.wasm"]) == PARTS["runtime.wasm"]
    assert found["worker.js"].startswith(PARTS["ort.js"])
    assert b"function segmentImage" in found["worker.js"]
    page = (folder / "index.html").read_text()
    assert "{{" not in page and "head, body in MR" in page
    for name in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert (folder / name).is_file(), name
    assert "connect-src data: blob:" in page and "http" not in page.replace("http-equiv", "")
    licences = (folder / "LICENSES.txt").read_text()
    assert all(word in licences for word in ("onnxruntime-web 1.", "niivue 0.", "Microsoft", "// dicom.txt"))
    assert set(read_json(folder / "manifest.json")["files"]) == {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }


def test_a_model_goes_to_a_browser_as_its_network_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}

    def refused(*places: Path, **options: object) -> Path:
        given.update(options)
        raise UsageError("enough")

    monkeypatch.setattr(to_web, "vendored", lambda: PARTS)
    monkeypatch.setattr("autoseg.export.to_onnx.export_bundle", refused)
    with pytest.raises(UsageError, match="enough"):
        export_web(tmp_path, tmp_path / "page")
    assert given == {"flat": False}


def test_what_cannot_become_a_page(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="Give a folder"):
        export_web(bundle, tmp_path / "page.zip")

    def offline(*arguments: Any, **options: Any) -> None:
        raise PackageUnavailable("onnxruntime-web@1 is fetched by npm, which is not installed.")

    with monkeypatch.context() as patch:
        patch.setattr(to_web, "package_files", offline)
        with pytest.raises(PackageUnavailable, match="fetched by npm"):
            export_web(bundle, tmp_path / "page")
    monkeypatch.setattr(to_web, "vendored", lambda: PARTS)
    other = tmp_path / "other"
    shutil.copytree(bundle, other)
    write_json(other / "model.json", {**read_json(other / "model.json"), "file_ending": ".mha"})
    (other / "manifest.json").unlink()
    write_json(other / "manifest.json", manifest_of(other))
    with pytest.raises(RunError, match=r"takes \.mha files"):
        export_web(other, tmp_path / "page")
    (other / "card.md").write_text("changed")
    with pytest.raises(BundleError, match="changed or damaged"):
        export_web(other, tmp_path / "page")
    assert not (tmp_path / "page").exists()


@pytest.fixture(scope="module")
def browser() -> Iterator[chromium.Chromium]:
    program = chromium.find_chromium()
    if program is None:
        pytest.skip("there is no Chromium")
    try:
        to_web.vendored()
    except PackageUnavailable as problem:
        pytest.skip(str(problem))
    with pytest.MonkeyPatch.context() as patch:
        flags = [flag for flag in chromium.FLAGS if flag != "--disable-gpu"]
        software = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        patch.setattr(chromium, "FLAGS", (*flags, *software))
        with chromium.chromium(program) as found:
            yield found


def opened(browser: chromium.Chromium, folder: Path) -> chromium.Page:
    page = browser.page().open(folder / "index.html")
    page.run("autosegReady.then(() => 1)")
    return page


def segmented(page: chromium.Page, files: list[Path]) -> str:
    """What the page says in the end."""
    given = ", ".join(
        f"new File([Uint8Array.from(atob('{base64.b64encode(path.read_bytes()).decode()}'), "
        f"c => c.charCodeAt(0))], '{path.name}')"
        for path in files
    )
    page.run(f"segment([{given}]).then(() => 1)")
    return str(page.run("document.getElementById('state').textContent"))


def in_page(browser: chromium.Chromium, folder: Path, files: list[Path], output: Path) -> sitk.Image:
    """The labels that the page saves."""
    page = opened(browser, folder)
    state = segmented(page, files)
    assert state.startswith("Done"), state
    assert page.complaints == []
    assert [each for each in page.requests if not each.startswith(("file:", "blob:", "data:"))] == []
    shown = page.run("viewer.volumes.map(volume => volume.name).join()")
    assert shown == "image.nii,labels.nii"
    text = page.run("btoa(Array.from(autosegResult.file, b => String.fromCharCode(b)).join(''))")
    path = output / page.run("autosegResult.name")
    path.write_bytes(base64.b64decode(text))
    return sitk.ReadImage(str(path))


def in_bundle(bundle: Path, source: Path, output: Path) -> sitk.Image:
    (path,), left_out = segment_folder(Segmenter.load(bundle, threads=1), source, output)
    assert left_out == {}
    return sitk.ReadImage(str(path))


def alike(one: sitk.Image, other: sitk.Image) -> None:
    assert one.GetSize() == other.GetSize()
    for what in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(one, what)(), getattr(other, what)(), atol=1e-4)
    first, second = map(sitk.GetArrayFromImage, (one, other))
    assert len(np.unique(second)) > 1
    assert (first == second).mean() > 0.999


@pytest.mark.slow
def test_a_volume_that_is_turned_with_regions_folds_and_postprocessing(
    browser: chromium.Chromium, tmp_path: Path
) -> None:
    model = model_folder(tmp_path, "resnet34_mlp", "2d", REGIONS, folds=(0, 1), use_mask_for_norm=[True])
    Postprocessing((Rule("body", (2,), 2, 1, largest=True, fill=True),)).save(model)
    bundle = export_bundle(model, tmp_path / "bundle")
    image = write_volume(tmp_path / "a_0000.nii.gz")
    found = in_page(browser, export_web(bundle, tmp_path / "page"), [image], tmp_path)
    alike(found, in_bundle(bundle, image, tmp_path / "out"))


@pytest.mark.slow
def test_a_dicom_series(browser: chromium.Chromium, tmp_path: Path) -> None:
    about = {**ABOUT, "channel_names": {"0": "CT"}}
    bundle = export_bundle(model_folder(tmp_path, "unet", "2d", about), tmp_path / "bundle")
    series = write_series(tmp_path / "series", "oblique", down=True)
    files = sorted(path for path in series.folder.rglob("*") if path.is_file())
    found = in_page(browser, export_web(bundle, tmp_path / "page"), files, tmp_path)
    alike(found, in_bundle(bundle, series.folder, tmp_path / "out"))


@pytest.mark.slow
def test_what_the_page_refuses(bundle: Path, browser: chromium.Chromium, tmp_path: Path) -> None:
    """A series of another scanner, a picture, and a file that is no image; the next image is taken."""
    folder = export_web(bundle, tmp_path / "page")
    series = write_series(tmp_path / "series", "axial")
    picture, broken = tmp_path / "a.png", tmp_path / "b.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((8, 8), np.uint8)), str(picture))
    broken.write_bytes(b"no image")
    page = opened(browser, folder)
    for files, words in (
        (sorted(series.folder.rglob("*")), "The series is CT, and the model learnt from MR"),
        ([picture], "The model learnt from volumes"),
        ([broken], "b.nii.gz is too short"),
    ):
        assert words in segmented(page, [path for path in files if path.is_file()])
    assert segmented(page, [write_volume(tmp_path / "c_0000.nii.gz")]).startswith("Done")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "configuration", "about"),
    [("Dataset018_FetalHead", "2d", SLICE), ("Dataset004_Hippocampus", "3d_fullres", ABOUT)],
)
def test_real_cases(
    name: str,
    configuration: str,
    about: dict[str, Any],
    browser: chromium.Chromium,
    shared_data: Any,
    tmp_path: Path,
) -> None:
    bundle = export_bundle(model_folder(tmp_path, "nnunet", configuration, about), tmp_path / "bundle")
    image = sorted((shared_data(name) / "imagesTr").iterdir())[0]
    found = in_page(browser, export_web(bundle, tmp_path / "page"), [image], tmp_path)
    alike(found, in_bundle(bundle, image, tmp_path / "out"))
