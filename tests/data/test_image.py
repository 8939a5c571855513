"""Our readers and writers against nnU-Net's own, on real files and on made ones."""

from __future__ import annotations

import gzip
import pickle
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from stock_readers import (
    REAL,
    SharedData,
    assert_reads_as_stock,
    made_pngs,
    oblique,
    write_nifti,
)

from autoseg.data import readers as ours
from autoseg.data.image import ImageError
from autoseg.data.readers import (
    read_file,
    read_images,
    reader_for,
)
from autoseg.errors import DataError


@pytest.mark.parametrize("name", REAL)
def test_real_cases_are_read_as_in_nnunet(name: str, shared_data: SharedData) -> None:
    root = shared_data(name)
    labels = sorted((root / "labelsTr").iterdir())
    for label in labels[:: max(1, len(labels) // 12)]:
        case = label.name.split(".")[0]
        images = sorted((root / "imagesTr").glob(f"{case}_0*"))
        assert images
        assert_reads_as_stock(REAL[name], images, label)


@pytest.mark.parametrize("reader", ["NibabelIO", "NibabelIOWithReorient", "SimpleITKIOWithReorient"])
def test_other_nifti_readers_on_real_cases(reader: str, shared_data: SharedData) -> None:
    for name in ("Dataset004_Hippocampus", "Dataset030_MSLesion", "Dataset040_CTOrgans"):
        root = shared_data(name)
        label = sorted((root / "labelsTr").iterdir())[0]
        images = sorted((root / "imagesTr").glob(f"{label.name.split('.')[0]}_0*"))
        assert_reads_as_stock(reader, images, label)


def test_oblique_grids_are_read_as_in_nnunet(shared_data: SharedData) -> None:
    folder = shared_data("intake_quirks/channels_on_different_grids")
    for path in sorted(folder.glob("*.nii.gz")):
        for reader in ("SimpleITKIO", "NibabelIO", "NibabelIOWithReorient", "SimpleITKIOWithReorient"):
            assert_reads_as_stock(reader, [path])


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha", ".nii"])
@pytest.mark.parametrize("kind", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_formats_of_itk(ending: str, kind: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(100, 40, (5, 6, 7)).astype(kind)
    images = [
        oblique(values, tmp_path / f"a_0000{ending}"),
        oblique(values * 2, tmp_path / f"a_0001{ending}"),
    ]
    assert_reads_as_stock("SimpleITKIO", images, images[0])
    assert read_file(images[0], "SimpleITKIO").array.dtype == kind


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (0, 0), (2.5, 0), (1, -1024), (0.1, 0.3), (0, 5)])
@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "i4", "u4", "f4", "f8", "i8"])
def test_nifti_scaling_and_byte_order(
    kind: str, slope: float, intercept: float, order: str, tmp_path: Path
) -> None:
    array = np.random.default_rng(1).integers(0, 120, (4, 5, 6)).astype(kind)
    path = write_nifti(tmp_path / "a_0000.nii.gz", array, slope, intercept, order)
    assert_reads_as_stock("SimpleITKIO", [path])
    assert_reads_as_stock("NibabelIO", [path])


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 6, 1), (4, 5, 6, 2), (4, 5, 1, 3)])
def test_nifti_dimensions(shape: tuple[int, ...], tmp_path: Path) -> None:
    array = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    assert_reads_as_stock("SimpleITKIO", [write_nifti(tmp_path / "a_0000.nii.gz", array)])


def test_nan_of_nifti_is_read_as_itk_reads_it_and_counted(tmp_path: Path) -> None:
    array = np.ones((4, 5, 6), np.float32)
    array[0, 0, 0], array[1, 2, 3] = np.nan, np.inf
    path = write_nifti(tmp_path / "a_0000.nii.gz", array)
    assert_reads_as_stock("SimpleITKIO", [path])
    assert read_images([path, path], "SimpleITKIO").replaced == 4
    assert read_images([write_nifti(path, array, slope=2)], "SimpleITKIO").replaced == 2


@pytest.mark.parametrize("keep", [0.2, 0.9, 0.999])
@pytest.mark.parametrize("packed", [True, False])
def test_truncated_nifti_is_refused(keep: float, packed: bool, tmp_path: Path) -> None:
    array = np.random.default_rng(2).integers(0, 1000, (20, 20, 20)).astype(np.int16)
    path = write_nifti(tmp_path / "whole_0000.nii.gz", array)
    content = path.read_bytes() if packed else gzip.decompress(path.read_bytes())
    short = tmp_path / ("short_0000.nii.gz" if packed else "short_0000.nii")
    short.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(DataError, match=short.name):
        read_images([short], "SimpleITKIO")


def test_a_flipped_bit_in_a_packed_file_is_found(tmp_path: Path) -> None:
    path = write_nifti(
        tmp_path / "a_0000.nii.gz", np.random.default_rng(3).integers(0, 9, (20,) * 3).astype("i2")
    )
    content = bytearray(path.read_bytes())
    content[-100] ^= 0x10
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="a_0000"):
        read_images([path], "SimpleITKIO")


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha", ".png", ".bmp", ".tif"])
@pytest.mark.parametrize("content", [b"", b"not an image, whatever the name says", b"\x1f\x8b\x08\x00broken"])
def test_rubbish_is_refused_with_its_name(ending: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"rubbish_0000{ending}"
    path.write_bytes(content)
    with pytest.raises(DataError, match="rubbish_0000"):
        reader_for(ending, example=path).read_images([path])


def test_an_error_survives_the_way_between_processes(tmp_path: Path) -> None:
    problem = ours.ImageError(tmp_path / "a.nii.gz", "is truncated")
    copy = pickle.loads(pickle.dumps(problem))
    assert str(copy) == str(problem) == f"{tmp_path}/a.nii.gz is truncated. Restore it from its source."


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone_0000\.nii\.gz is not a file"):
        read_images([tmp_path / "gone_0000.nii.gz"], "SimpleITKIO")


def test_natural_images_of_every_kind(tmp_path: Path) -> None:
    for path in made_pngs(tmp_path).values():
        assert_reads_as_stock("NaturalImage2DIO", [path])


def test_channels_of_rgb_and_grey_files_are_stacked(tmp_path: Path) -> None:
    paths = made_pngs(tmp_path)
    assert read_images([paths["rgb.png"]], "NaturalImage2DIO").array.shape == (3, 1, 9, 11)
    assert_reads_as_stock("NaturalImage2DIO", [paths["grey.png"], paths["grey16.png"]])


def test_reading_imports_nothing_heavy(tmp_path: Path) -> None:
    source = oblique(np.zeros((5, 6, 7), np.int16), tmp_path / "a_0000.nii.gz")
    png = made_pngs(tmp_path)["rgb.png"]
    code = (
        "import sys; from pathlib import Path; from autoseg.data.readers import read_images\n"
        f"read_images([Path({str(source)!r})], 'SimpleITKIO')\n"
        f"read_images([Path({str(png)!r})], 'NaturalImage2DIO')\n"
        "print([m for m in ('torch', 'skimage', 'scipy', 'nnunetv2', 'nibabel') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nifti_2_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "c0_0000.nii.gz"
    nibabel.save(nibabel.Nifti2Image(np.zeros((3, 4, 5), np.int16), np.eye(4)), path)
    with pytest.raises(ImageError, match=r"is NIfTI-2, which SimpleITK does not read\. Write it as NIfTI-1"):
        read_file(path, "SimpleITKIO")
    assert read_file(path, "NibabelIO").array.shape == (1, 5, 4, 3)
