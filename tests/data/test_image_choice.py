"""Which reader is chosen, and what is said of channels on different grids."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from stock_readers import (
    REAL,
    SharedData,
    assert_reads_as_stock,
    made_pngs,
    nibabel,
    oblique,
    registry,
)

from autoseg.data import readers as ours
from autoseg.data.readers import (
    READERS,
    read_file,
    read_images,
    read_segmentation,
    reader_for,
)
from autoseg.errors import DataError


@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 3), (3, 8, 9), (5, 8, 9)])
def test_tiff_and_the_choice_between_its_readers(shape: tuple[int, ...], tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / "a_0000.tif"
    tifffile.imwrite(path, np.random.default_rng(5).integers(0, 999, shape).astype(np.uint16))
    chosen = registry.determine_reader_writer_from_file_ending(".tif", str(path), verbose=False).__name__
    assert reader_for(".tif", example=path).name == chosen
    assert_reads_as_stock(chosen, [path])


def test_spacing_of_3d_tiff_comes_from_the_file_beside_it(tmp_path: Path) -> None:
    import tifffile

    array = np.arange(5 * 8 * 9, dtype=np.uint8).reshape(5, 8, 9)
    for name in ("a_0000.tif", "a_0001.tif", "a.tif"):
        tifffile.imwrite(tmp_path / name, array)
    (tmp_path / "a.json").write_text('{"spacing": [3, 0.5, 0.5]}')
    assert_reads_as_stock("Tiff3DIO", [tmp_path / "a_0000.tif", tmp_path / "a_0001.tif"], tmp_path / "a.tif")
    assert read_segmentation(tmp_path / "a.tif", "Tiff3DIO").spacing == (3, 0.5, 0.5)
    (tmp_path / "a.json").write_text('{"spacing": [3, 0.5]}')
    with pytest.raises(DataError, match=r"a\.json"):
        read_segmentation(tmp_path / "a.tif", "Tiff3DIO")


@pytest.mark.parametrize(
    "ending", [".nii.gz", ".nii", ".nrrd", ".mha", ".gipl", ".png", ".bmp", ".tif", ".tiff", ".PNG"]
)
def test_choice_by_ending_alone(ending: str) -> None:
    assert (
        reader_for(ending).name
        == registry.determine_reader_writer_from_file_ending(ending, verbose=False).__name__
    )


@pytest.mark.parametrize("override", [*READERS, "None", "NoSuchReader"])
def test_choice_by_name(override: str) -> None:
    content = {"file_ending": ".nii.gz", "overwrite_image_reader_writer": override}
    expected = registry.determine_reader_writer_from_dataset_json(content, verbose=False).__name__
    assert reader_for(".nii.gz", override).name == expected


def test_an_unknown_ending_is_refused() -> None:
    with pytest.raises(DataError, match=r"'\.jpg'.*\.png"):
        reader_for(".jpg")


def test_channels_on_different_grids_are_refused_with_both(shared_data: SharedData) -> None:
    folder = shared_data("intake_quirks/channels_on_different_grids")
    paths = [folder / f"sub-strokecase0009_ses-0001_{channel}.nii.gz" for channel in ("adc", "flair")]
    with pytest.raises(DataError, match=r"73 x 112 x 112 voxels.*flair.*29 x 512 x 512 voxels of 5 x 0\.449"):
        read_images(paths, "SimpleITKIO")


def test_a_different_origin_is_only_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    array = np.zeros((3, 4, 5), np.uint8)
    first = oblique(array, tmp_path / "a_0000.mha")
    moved = sitk.ReadImage(str(first))
    moved.SetOrigin((0, 0, 0))
    sitk.WriteImage(moved, str(tmp_path / "a_0001.mha"))
    assert read_images([first, tmp_path / "a_0001.mha"], "SimpleITKIO").array.shape == (2, 3, 4, 5)
    assert "a_0001.mha differ in their origin" in caplog.text


def test_rounding_in_a_header_is_no_difference(shared_data: SharedData) -> None:
    folder = shared_data("intake_quirks/channels_on_different_grids")
    for reader in ("SimpleITKIO", "NibabelIO"):
        adc, label = (read_file(next(folder.glob(f"*_{name}.nii.gz")), reader) for name in ("adc", "msk"))
        assert ours.placed_differently(adc, label) == {}
        shifted = {name: values + 0.1 for name, values in label.world.items()}
        assert ours.placed_differently(adc, replace(label, world=shifted)).keys() == adc.world.keys()


@pytest.mark.parametrize("name", REAL)
def test_what_was_read_may_be_changed(name: str, shared_data: SharedData) -> None:
    root = shared_data(name)
    label = sorted((root / "labelsTr").iterdir())[0]
    first = sorted((root / "imagesTr").iterdir())[0]
    assert read_segmentation(label, REAL[name]).array.flags.writeable
    assert read_images([first], REAL[name]).array.flags.writeable


def test_a_coloured_segmentation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="3 channels"):
        read_segmentation(made_pngs(tmp_path)["rgb.png"], "NaturalImage2DIO")


def test_every_reader_of_nnunet_is_here() -> None:
    assert {reader.__name__ for reader in registry.LIST_OF_IO_CLASSES} <= set(ours.READERS)


@pytest.mark.parametrize("shear", [0.0, 0.001, 0.1, 0.5])
def test_choice_and_reading_of_a_sheared_grid(shear: float, tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[0, 1] = shear
    path = tmp_path / "a_0000.nii.gz"
    nifti = nibabel.Nifti1Image(np.arange(120, dtype=np.int16).reshape(4, 5, 6), affine)
    nifti.set_qform(None, code=0)
    nibabel.save(nifti, path)
    chosen = registry.determine_reader_writer_from_file_ending(".nii.gz", str(path), verbose=False).__name__
    assert reader_for(".nii.gz", example=path).name == chosen
    assert_reads_as_stock(chosen, [path])
