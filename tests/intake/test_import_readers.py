"""Pictures of the eye as public sets have them: GIF masks, fields of view, several readers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from autoseg.data.dataset import load_dataset
from autoseg.data.readers import read_images
from autoseg.errors import DataError, UsageError
from autoseg.intake.conversion import Imported, import_dataset
from autoseg.intake.incoming import Request
from autoseg.intake.verification.dataset_check import verify
from autoseg.workspace import Workspace


def bring(source: Path, **request: object) -> Imported:
    workspace = Workspace.locate(source.parent / f"{source.name}_workspace")
    return import_dataset(source, workspace, "Made", request=Request(workers=1, **request))  # type: ignore[arg-type]


def vessel(number: int, width: int = 4) -> np.ndarray:
    mask = np.zeros((40, 50), np.uint8)
    mask[8 + number : 8 + number + width, 5:45] = 255
    return mask


def field() -> np.ndarray:
    y, x = np.indices((40, 50))
    return np.where((y - 20) ** 2 + (x - 25) ** 2 < 19**2, 255, 0).astype(np.uint8)


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def fundus(number: int) -> np.ndarray:
    grey = np.random.default_rng(number).integers(60, 90, (40, 50)) + (vessel(number) > 0) * 90
    return np.where(field()[..., None] > 0, np.stack([grey, grey // 2, grey // 4], -1), 0).astype(np.uint8)


def drive(root: Path, second: bool = True) -> Path:
    """The folders of DRIVE: tests have a second reader, all pictures a field of view."""
    for part, numbers, word in (("test", (1, 2), "test"), ("training", (21, 22, 23), "training")):
        for number in numbers:
            place, name = root / part, f"{number:02d}"
            save(place / "images" / f"{name}_{word}.tif", fundus(number % 20))
            save(place / "mask" / f"{name}_{word}_mask.gif", field())
            save(place / "1st_manual" / f"{name}_manual1.gif", vessel(number % 20))
            if second and part == "test":
                save(place / "2nd_manual" / f"{name}_manual2.gif", vessel(number % 20, 6))
    return root


def label_of(done: Imported, name: str) -> np.ndarray:
    (path,) = done.root.glob(f"labels*/{name}.*")
    return np.asarray(Image.open(path))


def test_vessels_of_the_first_reader_are_the_labels_and_no_field_of_view_is(tmp_path: Path) -> None:
    done = bring(drive(tmp_path / "drive"))
    assert (done.cases, done.tests, done.layout) == (3, 2, "folders")
    for name, number in (("21_training", 1), ("23_training", 3), ("01_test", 1)):
        assert np.array_equal(label_of(done, name), vessel(number) > 0)
    assert any("5 masks of the field of view" in note for note in done.notes)
    assert any("2 masks of other readers" in note and "reader 1" in note for note in done.notes)
    assert not [f for f in verify(done.root, workers=1).findings if f.severity == "error"]
    assert load_dataset(done.root).file_ending == ".tif"


def test_another_reader_can_be_chosen(tmp_path: Path) -> None:
    source = drive(tmp_path / "drive")
    done = bring(source / "test", own={"reader": "2"})
    assert np.array_equal(label_of(done, "02_test"), vessel(2, 6) > 0)
    with pytest.raises(UsageError, match="reader 3"):
        bring(source, own={"reader": "3"})


@pytest.mark.parametrize("kind", ["chase", "hrf"])
def test_other_sets_of_the_eye_with_readers_and_fields_of_view(tmp_path: Path, kind: str) -> None:
    root = tmp_path / kind
    for number in (1, 2, 3):
        if kind == "chase":
            save(root / f"Image_{number:02d}L.jpg", fundus(number))
            save(root / f"Image_{number:02d}L_1stHO.png", vessel(number))
            save(root / f"Image_{number:02d}L_2ndHO.png", vessel(number, 6))
        else:
            save(root / "images" / f"{number:02d}_dr.JPG", fundus(number))
            save(root / "manual1" / f"{number:02d}_dr.tif", vessel(number))
            save(root / "mask" / f"{number:02d}_dr_mask.tif", field())
    done = bring(root)
    name = "Image_02L" if kind == "chase" else "02_dr"
    assert done.cases == 3
    assert done.left_out == 3
    assert np.array_equal(label_of(done, name), vessel(2) > 0)


def test_a_mask_is_what_its_shades_say_where_a_palette_counts_otherwise(tmp_path: Path) -> None:
    root = tmp_path / "shades"
    for number in (1, 2, 3):
        save(root / "images" / f"p{number}.png", fundus(number))
        white = vessel(number) > 0
        # White is number 0 here, as some programs write two colours.
        turned = Image.fromarray(np.where(white, 0, 1).astype(np.uint8), "P")
        turned.putpalette([255, 255, 255, 0, 0, 0])
        (root / "masks").mkdir(exist_ok=True)
        turned.save(root / "masks" / f"p{number}.{'gif' if number == 1 else 'png'}")
    done = bring(root)
    assert all(np.array_equal(label_of(done, f"p{number}"), vessel(number) > 0) for number in (1, 2, 3))


def test_an_animation_is_no_mask(tmp_path: Path) -> None:
    root = tmp_path / "moving"
    for number in (1, 2):
        save(root / "images" / f"p{number}.png", fundus(number))
        first, second = (Image.fromarray(vessel(number + k)) for k in (0, 9))
        (root / "masks").mkdir(exist_ok=True)
        first.save(root / "masks" / f"p{number}.gif", save_all=True, append_images=[second])
    with pytest.raises(DataError, match=r"p1\.gif holds 2 pictures"):
        bring(root)


def channels_of(root: Path, name: str = "p1") -> np.ndarray:
    dataset = load_dataset(root)
    case = next(case for case in dataset.cases if case.identifier == name)
    return read_images(case.images, dataset.reader).array[:, 0]


@pytest.mark.parametrize("kind", ["rgb", "rgba", "planar", "ending", "grey", "black and white", "colours 16"])
def test_pictures_in_tiff_have_the_channels_that_are_declared(tmp_path: Path, kind: str) -> None:
    import tifffile

    root = tmp_path / "tiffs"
    written: dict[str, np.ndarray] = {}
    for number in (1, 2, 3):
        picture, options = fundus(number), {"photometric": "rgb"}
        if kind == "rgba":
            picture = np.concatenate([picture, np.full((40, 50, 1), 255, np.uint8)], -1)
            options["extrasamples"] = "unassalpha"
        if kind == "planar":
            picture, options["planarconfig"] = picture.transpose(2, 0, 1), "separate"
        if kind == "colours 16":
            picture = picture.astype(np.uint16) * 200
        if kind in ("grey", "black and white"):
            picture, options = picture[..., 0], {}
            picture = picture > 100 if kind == "black and white" else picture
        place = root / "images" / f"p{number}.{'tiff' if kind == 'ending' else 'tif'}"
        place.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(place, picture, **options)
        save(root / "masks" / f"p{number}.png", vessel(number))
        written[f"p{number}"] = picture
    done = bring(root)
    assert done.document["file_ending"] == ".tif"
    wanted = written["p1"]
    if kind in ("grey", "black and white"):
        wanted = wanted[None] * (255 if kind == "black and white" else 1)
    elif kind != "planar":
        wanted = wanted[..., :3].transpose(2, 0, 1)
    assert len(done.document["channel_names"]) == len(wanted)
    assert np.array_equal(channels_of(done.root), wanted)
    assert not [f for f in verify(done.root, workers=1).findings if f.severity == "error"]


def test_grey_and_coloured_pictures_of_several_formats_become_alike(tmp_path: Path) -> None:
    root = tmp_path / "mixture"
    for number, ending in ((1, "tif"), (2, "png"), (3, "gif")):
        picture = fundus(number) if number == 2 else fundus(number)[..., 0]
        save(root / "images" / f"p{number}.{ending}", picture)
        save(root / "masks" / f"p{number}.gif", vessel(number))
    done = bring(root)
    assert list(done.document["channel_names"].values()) == ["R", "G", "B"]
    assert np.array_equal(channels_of(done.root), [fundus(1)[..., 0]] * 3)
    assert not [f for f in verify(done.root, workers=1).findings if f.severity == "error"]


def test_a_volume_among_pictures_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "both"
    for number in (1, 2):
        save(root / "images" / f"p{number}.tif", fundus(number))
        save(root / "masks" / f"p{number}.tif", vessel(number))
    import tifffile

    tifffile.imwrite(root / "images" / "p2.tif", np.zeros((5, 40, 50), np.uint8), photometric="minisblack")
    with pytest.raises(DataError, match=r"p2\.tif is a volume.*p1\.tif a picture"):
        bring(root)


@pytest.mark.parametrize("label", ["gif", "png"])
def test_files_of_other_formats_in_the_raw_layout_are_named_and_an_import_converts_them(
    tmp_path: Path, label: str
) -> None:
    root = tmp_path / "Dataset501_Eye"
    for number in (1, 2, 3, 4):
        save(root / "imagesTr" / f"p{number}_0000.{'jpg' if number == 4 else 'tif'}", fundus(number))
        save(root / "labelsTr" / f"p{number}.{label}", vessel(number))
    about = {"channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": {"background": 0, "vessel": 1}}
    (root / "dataset.json").write_text(json.dumps({**about, "numTraining": 4, "file_ending": ".tif"}))
    found = {(finding.code, Path(finding.file).name) for finding in verify(root, workers=1).findings}
    assert {("other_ending", f"p1.{label}"), ("other_ending", "p4_0000.jpg")} <= found
    done = bring(root)
    assert done.cases == 4
    assert all(np.array_equal(label_of(done, f"p{number}"), vessel(number) > 0) for number in (1, 4))
    assert not [f for f in verify(done.root, workers=1).findings if f.severity == "error"]
    assert any("5 files are converted to .tif" in note for note in done.notes)


def test_volumes_of_other_formats_in_the_raw_layout_are_converted(tmp_path: Path) -> None:
    root = tmp_path / "Dataset502_Volumes"
    for number in range(4):
        image, mask = sitk.Image((9, 8, 7), sitk.sitkFloat32), sitk.Image((9, 8, 7), sitk.sitkUInt8)
        mask[4, 4, number + 1] = 1
        image, ending = image + number, (".nii.gz", ".nii", ".mha", ".nrrd")[number]
        for part in ("imagesTr", "labelsTr"):
            (root / part).mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(root / "imagesTr" / f"v{number}_0000{ending}"))
        sitk.WriteImage(mask, str(root / "labelsTr" / f"v{number}{ending}"))
    about = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "spot": 1}}
    (root / "dataset.json").write_text(json.dumps({**about, "numTraining": 4, "file_ending": ".nii.gz"}))
    assert any(finding.code == "other_ending" for finding in verify(root, workers=1).findings)
    done = bring(root)
    assert done.cases == 4
    for number in range(4):
        found = sitk.GetArrayFromImage(sitk.ReadImage(str(done.root / "labelsTr" / f"v{number}.nii.gz")))
        assert np.argwhere(found).tolist() == [[number + 1, 4, 4]]
