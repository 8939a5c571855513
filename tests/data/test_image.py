"""Our readers and writers against nnU-Net's own, on real files and on made ones."""

from __future__ import annotations

import gzip
import itertools
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data import readers as ours
from autoseg.data.readers import (
    READERS,
    read_file,
    read_images,
    read_segmentation,
    reader_for,
    write_segmentation,
)
from autoseg.errors import DataError

nibabel = pytest.importorskip("nibabel")
registry = pytest.importorskip("nnunetv2.imageio.reader_writer_registry")

SharedData = Callable[[str], Path]

REAL = {
    "Dataset004_Hippocampus": "SimpleITKIO",
    "Dataset018_FetalHead": "NaturalImage2DIO",
    "Dataset021_NucleiColor": "NaturalImage2DIO",
    "Dataset030_MSLesion": "SimpleITKIO",
    "Dataset040_CTOrgans": "SimpleITKIO",
}


def stock(name: str) -> Any:
    """nnU-Net's reader of that name."""
    return registry.recursive_find_reader_writer_by_name(name)()


def assert_equal(found: Any, expected: Any) -> None:
    """Nested properties, equal to the last bit."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_equal(found[key], expected[key])
    else:
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


def assert_reads_as_stock(name: str, images: list[Path], label: Path | None = None) -> None:
    array, properties = stock(name).read_images([str(path) for path in images])
    read = read_images(images, name)
    assert read.array.dtype == array.dtype == np.float32
    np.testing.assert_array_equal(read.array, array)
    assert_equal(read.properties, properties)
    assert read.spacing == tuple(properties["spacing"])
    if label is not None:
        array, properties = stock(name).read_seg(str(label))
        read = read_segmentation(label, name)
        np.testing.assert_array_equal(read.array.astype(np.float32), array)
        assert_equal(read.properties, properties)


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


def oblique(array: np.ndarray, path: Path) -> Path:
    """Write an array (z, y, x) on an oblique grid."""
    itk = sitk.GetImageFromArray(array)
    itk.SetSpacing((0.5, 0.75, 2.5))
    itk.SetOrigin((-10.5, 3.25, 100.0))
    turned = sitk.Euler3DTransform((0, 0, 0), 0.3, -0.2, 2.5).GetMatrix()
    itk.SetDirection(turned)
    sitk.WriteImage(itk, str(path), True)
    return path


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


def write_nifti(
    path: Path, array: np.ndarray, slope: float = 1, intercept: float = 0, order: str = "<"
) -> Path:
    """A NIfTI file (axes x, y, z, ...) with any scaling and byte order."""
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(array.dtype.newbyteorder(order))
    affine = np.diag([-2.0, 3.0, 4.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(array, affine, header), path)
    content = bytearray(path.read_bytes())
    if path.suffix == ".gz":
        content = bytearray(gzip.decompress(content))
    content[112:120] = np.array([slope, intercept], order + "f4").tobytes()
    path.write_bytes(gzip.compress(bytes(content)) if path.suffix == ".gz" else bytes(content))
    return path


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
    with pytest.raises(DataError, match=r"gone_0000\.nii\.gz is no file"):
        read_images([tmp_path / "gone_0000.nii.gz"], "SimpleITKIO")


def made_pngs(folder: Path) -> dict[str, Path]:
    """PNG and BMP files of every kind that Pillow writes."""
    from PIL import Image

    rng = np.random.default_rng(4)
    grey = rng.integers(0, 256, (9, 11), dtype=np.uint8)
    colour = rng.integers(0, 256, (9, 11, 4), dtype=np.uint8)
    images = {
        "grey.png": Image.fromarray(grey),
        "grey16.png": Image.fromarray(grey.astype(np.uint16) * 200),
        "rgb.png": Image.fromarray(colour[..., :3]),
        "rgba.png": Image.fromarray(colour),
        "palette.png": Image.fromarray(colour[..., :3]).quantize(7),
        "bits.png": Image.fromarray(grey > 128),
        "grey.bmp": Image.fromarray(grey),
        "rgb.bmp": Image.fromarray(colour[..., :3]),
    }
    for name, image in images.items():
        image.save(folder / name)
    return {name: folder / name for name in images}


def test_natural_images_of_every_kind(tmp_path: Path) -> None:
    for path in made_pngs(tmp_path).values():
        assert_reads_as_stock("NaturalImage2DIO", [path])


def test_channels_of_rgb_and_grey_files_are_stacked(tmp_path: Path) -> None:
    paths = made_pngs(tmp_path)
    assert read_images([paths["rgb.png"]], "NaturalImage2DIO").array.shape == (3, 1, 9, 11)
    assert_reads_as_stock("NaturalImage2DIO", [paths["grey.png"], paths["grey16.png"]])


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


def written(name: str, ending: str, source: Path, high: int, folder: Path) -> tuple[Path, Path]:
    """The same segmentation written by us and by nnU-Net, for the geometry of `source`."""
    image = read_images([source], name)
    seg = np.random.default_rng(6).integers(0, high, image.array.shape[1:]).astype(np.int64)
    mine, theirs = folder / f"mine{ending}", folder / f"theirs{ending}"
    write_segmentation(seg, mine, image.properties, name)
    stock(name).write_seg(seg, str(theirs), stock(name).read_images([str(source)])[1])
    np.testing.assert_array_equal(read_segmentation(mine, name).array[0], seg)
    return mine, theirs


# nnU-Net wraps labels above 255 with SimpleITKIOWithReorient, so only low ones are compared there.
@pytest.mark.parametrize(
    ("name", "ending", "high"),
    [
        *itertools.product(["SimpleITKIO"], [".nii.gz", ".nrrd", ".mha"], [3, 300]),
        *itertools.product(["NibabelIO", "NibabelIOWithReorient"], [".nii.gz", ".nii"], [3, 300]),
        ("SimpleITKIOWithReorient", ".nii.gz", 3),
    ],
)
def test_segmentations_of_volumes_are_written_as_in_nnunet(
    name: str, ending: str, high: int, tmp_path: Path
) -> None:
    source = oblique(np.zeros((5, 6, 7), np.int16), tmp_path / f"a_0000{ending}")
    mine, theirs = written(name, ending, source, high, tmp_path)
    for reader in ("SimpleITKIO", "NibabelIO") if ending.startswith(".nii") else ("SimpleITKIO",):
        one, other = stock(reader).read_seg(str(mine)), stock(reader).read_seg(str(theirs))
        assert_equal(one[1], other[1])
        np.testing.assert_array_equal(one[0], other[0])
    assert sitk.ReadImage(str(mine)).GetPixelID() == sitk.ReadImage(str(theirs)).GetPixelID()
    if ".gz" not in ending:
        assert mine.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("high", [3, 300])
@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_segmentations_of_2d_images_are_written_as_in_nnunet(ending: str, high: int, tmp_path: Path) -> None:
    source = tmp_path / f"a_0000{ending}"
    write_segmentation(np.zeros((1, 9, 11), int), source, {}, "NaturalImage2DIO")
    mine, theirs = written("NaturalImage2DIO", ending, source, high, tmp_path)
    assert mine.read_bytes() == theirs.read_bytes()


def test_segmentations_of_3d_tiff_are_written_as_in_nnunet(tmp_path: Path) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "a_0000.tif", np.zeros((5, 8, 9), np.uint8))
    (tmp_path / "a.json").write_text('{"spacing": [3, 0.5, 0.5]}')
    mine, theirs = written("Tiff3DIO", ".tif", tmp_path / "a_0000.tif", 300, tmp_path)
    assert mine.read_bytes() == theirs.read_bytes()
    assert json.loads((tmp_path / "mine.json").read_text()) == json.loads(
        (tmp_path / "theirs.json").read_text()
    )


def test_a_2d_nifti_comes_back_on_its_geometry(tmp_path: Path) -> None:
    source = write_nifti(tmp_path / "a_0000.nii.gz", np.zeros((7, 8), np.int16))
    mine, theirs = written("SimpleITKIO", ".nii.gz", source, 3, tmp_path)
    one, other = stock("SimpleITKIO").read_seg(str(mine)), stock("SimpleITKIO").read_seg(str(theirs))
    np.testing.assert_array_equal(one[0], other[0])
    assert_equal(one[1], other[1])


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = oblique(np.zeros((5, 6, 7), np.int16), tmp_path / "a_0000.nii.gz")
    properties = read_images([source], "SimpleITKIO").properties
    target = tmp_path / "seg.nii.gz"
    target.write_bytes(b"the earlier one")

    def fails(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(sitk, "WriteImage", fails)
    with pytest.raises(OSError, match="disk is full"):
        write_segmentation(np.zeros((5, 6, 7), int), target, properties, "SimpleITKIO")
    assert target.read_bytes() == b"the earlier one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_0000.nii.gz", "seg.nii.gz"]


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
