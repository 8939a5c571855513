"""Headers, orientations and names that spoil a training in silence: each is found before it."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data.image import ImageError
from autoseg.data.readers import read_file, read_segmentation
from autoseg.intake.verification.dataset_check import verify
from autoseg.intake.verification.findings import Finding


def dataset(root: Path, count: int = 4, channel: str = "MR", names: str = "case_{}") -> Path:
    for number in range(count):
        generator = np.random.default_rng(number)
        label = np.zeros((6, 8, 10), np.uint8)
        label[2:4, 2:6, 3:7] = 1
        image = generator.normal(100, 10, label.shape).astype(np.float32) + 60 * label
        for path, array in (
            (root / "imagesTr" / f"{names.format(number)}_0000.nii.gz", image),
            (root / "labelsTr" / f"{names.format(number)}.nii.gz", label),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            affine = np.diag((-1, -1, 2.5, 1))
            nibabel.save(nibabel.Nifti1Image(array.transpose(2, 1, 0), affine), path)
    about = {"channel_names": {"0": channel}, "labels": {"background": 0, "organ": 1}, "numTraining": count}
    (root / "dataset.json").write_text(json.dumps({**about, "file_ending": ".nii.gz"}))
    return root


def patch(root: Path, *fields: tuple[str, int, float]) -> None:
    """Write numbers into the headers of the second case."""
    for path in (root / "imagesTr" / "case_1_0000.nii.gz", root / "labelsTr" / "case_1.nii.gz"):
        content = bytearray(gzip.decompress(path.read_bytes()))
        for kind, place, value in fields:
            struct.pack_into(kind, content, place, value)
        path.write_bytes(gzip.compress(bytes(content)))


def found(root: Path) -> dict[str, list[Finding]]:
    by_code: dict[str, list[Finding]] = {}
    for finding in verify(root, workers=1).findings:
        by_code.setdefault(finding.code, []).append(finding)
    return by_code


def test_a_sound_data_set_has_none(tmp_path: Path) -> None:
    assert found(dataset(tmp_path / "d")) == {}


@pytest.mark.parametrize(
    ("fields", "code", "severity", "words"),
    [
        ([("<f", 88, 0.0)], "bad_spacing", "error", "pixdim[3], the distance of slices, is 0"),
        ([("<f", 84, float("nan"))], "bad_spacing", "error", "pixdim[2], the distance of rows, is nan"),
        ([("<f", 80, float("inf"))], "bad_spacing", "error", "pixdim[1], the distance of columns, is inf"),
        ([("<f", 88, -2.5)], "negative_spacing", "warning", "read as 2.5 mm"),
        (
            [("<f", 88, 1.0)],
            "two_spacings",
            "error",
            "sform has voxels of 1 x 1 x 2.5 mm, its pixdim 1 x 1 x 1",
        ),
        ([("<h", 252, 1), ("<f", 268, 30.0)], "two_positions", "warning", "voxels apart"),
        ([("<f", 112, float("inf"))], "bad_scaling", "error", "scl_slope is inf"),
        ([("<f", 112, 1e-42)], "bad_scaling", "error", "some programs take so small a one for none"),
        ([("<f", 112, 0.0), ("<f", 116, 10.0)], "bad_scaling", "warning", "some programs add it"),
    ],
)
def test_headers(
    tmp_path: Path, fields: list[tuple[str, int, float]], code: str, severity: str, words: str
) -> None:
    root = dataset(tmp_path / "d")
    patch(root, *fields)
    findings = found(root)[code]
    assert [finding.severity for finding in findings] == [severity] * 2
    assert all(words in finding.message and finding.case == "case_1" for finding in findings)


def test_a_sheared_sform_is_called_by_its_name(tmp_path: Path) -> None:
    root = dataset(tmp_path / "d")
    patch(root, ("<h", 252, 0), ("<f", 284, 0.4))
    (first, *_) = found(root)["unreadable"]
    assert "not at right angles: its sform is sheared" in first.message
    assert "NibabelIO" in first.remedy


def test_mixed_orientation_names_the_cases(tmp_path: Path) -> None:
    root = dataset(tmp_path / "d")
    for path in (root / "imagesTr" / "case_2_0000.nii.gz", root / "labelsTr" / "case_2.nii.gz"):
        sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(str(path)), "RPS"), str(path))
    (finding,) = found(root)["mixed_orientation"]
    assert "1 of 4 cases are stored along other axes (RPS, not LPS): case_2." in finding.message


def test_a_case_in_another_unit(tmp_path: Path) -> None:
    root = dataset(tmp_path / "d")
    for path in (root / "imagesTr" / "case_1_0000.nii.gz", root / "labelsTr" / "case_1.nii.gz"):
        image = sitk.ReadImage(str(path))
        image.SetSpacing((0.001, 0.001, 0.0025))
        sitk.WriteImage(image, str(path))
    (finding,) = found(root)["spacing_outlier"]
    assert finding.case == "case_1" and "write millimetres" in finding.remedy


@pytest.mark.parametrize(
    ("factor", "told"), [(1e-3, True), (1e-6, True), (1e3, True), (2.0, False), (900.0, False)]
)
def test_a_label_in_another_unit_than_its_image(factor: float, told: bool, tmp_path: Path) -> None:
    root = dataset(tmp_path / "d")
    path = root / "labelsTr" / "case_1.nii.gz"
    image = sitk.ReadImage(str(path))
    image.SetSpacing([factor * each for each in image.GetSpacing()])
    sitk.WriteImage(image, str(path))
    (finding,) = found(root)["spacing_mismatch"]
    assert ("another unit of length" in finding.remedy) is told, finding


def test_a_single_slice_among_volumes_is_no_matter_of_units(tmp_path: Path) -> None:
    root = dataset(tmp_path / "d")
    for path in (root / "imagesTr" / "case_1_0000.nii.gz", root / "labelsTr" / "case_1.nii.gz"):
        image = sitk.ReadImage(str(path))
        x, y, z = image.GetSpacing()
        image.SetSpacing((x, y, 400 * z))
        sitk.WriteImage(image, str(path))
    (finding,) = found(root)["spacing_outlier"]
    assert "Only along z it differs so much" in finding.remedy and "single slice" in finding.remedy


@pytest.mark.parametrize(("name", "told"), [("CT", False), ("ct", False), ("CTA", True), ("0", True)])
def test_hounsfield_units_under_another_name(tmp_path: Path, name: str, told: bool) -> None:
    root = dataset(tmp_path / "d", channel=name)
    for path in (root / "imagesTr").iterdir():
        image = sitk.ReadImage(str(path))
        sitk.WriteImage(sitk.Cast(image * 9 - 1900, sitk.sitkInt16), str(path))
    for path in (root / "imagesTr").iterdir():
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        array[:, :, 0] = -1024
        image = sitk.GetImageFromArray(np.maximum(array, -1024))
        image.CopyInformation(sitk.ReadImage(str(path)))
        sitk.WriteImage(image + 0, str(path))
    assert ("ct_by_another_name" in found(root)) is False
    for path in (root / "imagesTr").iterdir():
        image = sitk.ReadImage(str(path))
        array = sitk.GetArrayFromImage(image)
        array[3, 3, 3:6] = 700
        other = sitk.GetImageFromArray(array)
        other.CopyInformation(image)
        sitk.WriteImage(other, str(path))
    assert ("ct_by_another_name" in found(root)) is told


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("pat0{}_t0 pat0{}_t1", True),
        ("p{}a p{}b", True),
        ("s{}-visit1 s{}-visit2", True),
        ("sub-0{}_ses-1 sub-0{}_ses-2", True),
        ("p{}_slice_003 p{}_slice_004", True),
        ("P00{}_pre P00{}_post", True),
        ("knee{}_L knee{}_R", True),
        ("AB{}_20200131 AB{}_20210131", True),
        ("AB{}-2020-01-31 AB{}-2021-01-31", True),
        ("lung0{}_insp lung0{}_exp", True),
        ("case_00{} case_10{}", False),
        ("organ_{} mask_0{}", False),
        ("case_00{} other_{}", False),
    ],
)
def test_visits_told_by_names(tmp_path: Path, names: str, told: bool) -> None:
    for pattern in names.split():
        dataset(tmp_path / "d", 3, names=pattern)
    assert ("visits_without_groups" in found(tmp_path / "d")) is told
    if told:
        rows = [f"{pattern.format(n)},g{n}" for pattern in names.split() for n in range(3)]
        (tmp_path / "d" / "groups.csv").write_text("case,group\n" + "\n".join(rows) + "\n")
        assert "visits_without_groups" not in found(tmp_path / "d")


def test_another_ending_channels_from_one_and_a_broken_link(tmp_path: Path) -> None:
    root = dataset(tmp_path / "a")
    sitk.WriteImage(
        sitk.ReadImage(str(root / "labelsTr" / "case_1.nii.gz")), str(root / "labelsTr" / "x.nii")
    )
    (finding,) = found(root)["other_ending"]
    assert finding.message.startswith("1 image files here do not end in .nii.gz")
    root = dataset(tmp_path / "b")
    for path in list((root / "imagesTr").iterdir()):
        path.rename(path.with_name(path.name.replace("_0000", "_0001")))
    (finding,) = found(root)["channel_numbers"]
    assert "count from 0000" in finding.remedy
    root = dataset(tmp_path / "c")
    (root / "imagesTr" / "case_1_0000.nii.gz").unlink()
    (root / "imagesTr" / "case_1_0000.nii.gz").symlink_to("gone.nii.gz")
    (finding,) = found(root)["missing_image"]
    assert "a link to gone.nii.gz, where nothing is" in finding.message


def test_four_dimensions_are_one_error_a_file(tmp_path: Path) -> None:
    root = dataset(tmp_path / "d")
    both = np.zeros((10, 8, 6, 2), np.float32)
    both[3, 3, 3] = 1
    nibabel.save(
        nibabel.Nifti1Image(both, np.diag((-1, -1, 2.5, 1))), root / "imagesTr" / "case_1_0000.nii.gz"
    )
    nibabel.save(
        nibabel.Nifti1Image(both.astype(np.uint8), np.diag((-1, -1, 2.5, 1))),
        root / "labelsTr" / "case_2.nii.gz",
    )
    findings = found(root)
    assert {finding.case for finding in findings["four_dimensions"]} == {"case_1", "case_2"}
    assert not {"origin_mismatch", "direction_mismatch"} & findings.keys()


# ---- Labels that are whole but for rounding


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("reader", ["SimpleITKIO", "NibabelIO"])
def test_a_scaled_header_does_not_make_fractions(tmp_path: Path, ending: str, reader: str) -> None:
    label = np.random.default_rng(0).integers(0, 3, (5, 6, 7)).astype(np.float32)
    image = nibabel.Nifti1Image(label, np.eye(4))
    image.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / f"a{ending}")
    found = read_segmentation(tmp_path / f"a{ending}", reader)
    assert 0 < found.rounded < 1e-3
    np.testing.assert_array_equal(found.array[0], label.transpose(2, 1, 0))


def test_fractions_stay_fractions_and_are_refused(tmp_path: Path) -> None:
    root = dataset(tmp_path / "d")
    path = root / "labelsTr" / "case_1.nii.gz"
    smooth = np.zeros((10, 8, 6), np.float32)
    smooth[3:6, 3:6, 2:4] = 0.4
    nibabel.save(nibabel.Nifti1Image(smooth, np.diag((-1, -1, 2.5, 1))), path)
    assert read_segmentation(path, "SimpleITKIO").rounded == 0
    assert "label_not_integer" in found(root)


# ---- MetaImage with a negative spacing


def test_negative_spacing_is_a_turned_axis_as_in_nnunet(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    header = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 5 6 7\nElementSpacing = 1.5 -2 3\n"
        "DimSize = 4 3 2\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    )
    path = tmp_path / "a.mha"
    path.write_bytes(header.encode() + array.tobytes())
    stuff = read_file(path, "SimpleITKIO").properties["sitk_stuff"]
    image = sitk.ReadImage(str(path))
    assert stuff["spacing"] == image.GetSpacing()
    assert stuff["direction"] == pytest.approx(image.GetDirection())
    assert stuff["origin"] == image.GetOrigin()
    from autoseg.data.readers import write_segmentation

    write_segmentation(array, tmp_path / "b.mha", {"sitk_stuff": stuff}, "SimpleITKIO")
    assert sitk.ReadImage(str(tmp_path / "b.mha")).GetDirection() == pytest.approx(image.GetDirection())


@pytest.mark.parametrize(
    "field",
    [
        "Offset = 5 nan 7",
        "TransformMatrix = 1 0 0 0 nan 0 0 0 1",
        "Offset = 5 6 -inf",
        "ElementSpacing = 1 NaN 3",
    ],
)
def test_a_place_or_size_that_is_no_number_is_refused_in_metaimage(tmp_path: Path, field: str) -> None:
    lines = {"TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "5 6 7", "ElementSpacing": "1 2 3"}
    name, _, value = field.partition(" = ")
    stated = "".join(f"{key} = {text}\n" for key, text in {**lines, name: value}.items())
    header = (
        f"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n{stated}"
        "DimSize = 4 3 2\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    )
    path = tmp_path / "a.mha"
    path.write_bytes(header.encode() + bytes(24))
    with pytest.raises(ImageError, match=r"states -?\w+ for where its voxels lie .* \(" + name):
        read_file(path, "SimpleITKIO")
