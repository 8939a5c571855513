"""What people bring in: labels stored otherwise, several masks, lossy ones, links, 4D files, folders."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from autoseg.errors import DataError
from autoseg.intake.conversion import Imported, import_dataset
from autoseg.intake.incoming import Request, files_below
from autoseg.workspace import Workspace


def bring(source: Path, **request: object) -> Imported:
    workspace = Workspace.locate(source.parent / f"{source.name}_workspace")
    return import_dataset(source, workspace, "Made", request=Request(workers=1, **request))  # type: ignore[arg-type]


def picture(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def square(y: int = 4, x: int = 6, size: tuple[int, int] = (24, 30)) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    mask[y : y + 9, x : x + 11] = 255
    return mask


def grey(seed: int, mask: np.ndarray) -> np.ndarray:
    return (np.random.default_rng(seed).integers(40, 60, mask.shape) + mask // 3).astype(np.uint8)


def volume(path: Path, array: np.ndarray, axes: str = "LPS") -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.8, 1.2, 2.5))
    image.SetOrigin((-11, 7, 30))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.DICOMOrient(image, axes), str(path))


def organ(seed: int) -> tuple[np.ndarray, np.ndarray]:
    label = np.zeros((8, 10, 12), np.uint8)
    label[2:5, 3:8, 2 : 5 + seed] = 1
    label[5:7, 6:9, 8:11] = 2
    return (np.random.default_rng(seed).normal(0, 1, label.shape) + 100 * label).astype(np.float32), label


def read(path: Path) -> np.ndarray:
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


# ---- Labels stored along other axes


@pytest.mark.parametrize("axes", ["RPS", "LAS", "LPI", "RAI", "PIR", "SLA"])
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_a_label_stored_otherwise_is_turned_without_loss(tmp_path: Path, axes: str, ending: str) -> None:
    for seed in range(3):
        image, label = organ(seed)
        volume(tmp_path / "s" / "images" / f"c{seed}{ending}", image)
        volume(tmp_path / "s" / "masks" / f"c{seed}{ending}", label, axes if seed == 1 else "LPS")
    done = bring(tmp_path / "s")
    for seed in range(3):
        image, label = organ(seed)
        np.testing.assert_array_equal(read(done.root / "labelsTr" / f"c{seed}{ending}"), label)
        np.testing.assert_array_equal(read(done.root / "imagesTr" / f"c{seed}_0000{ending}"), image)
    turned = sitk.ReadImage(str(done.root / "labelsTr" / f"c1{ending}"))
    like = sitk.ReadImage(str(done.root / "imagesTr" / f"c1_0000{ending}"))
    for what in ("GetDirection", "GetOrigin", "GetSpacing"):
        assert getattr(turned, what)() == pytest.approx(getattr(like, what)(), abs=1e-4)
    assert any(note.startswith("1 files are stored along other axes") for note in done.notes)


def test_a_header_that_no_flip_mends_is_refused(tmp_path: Path) -> None:
    for seed in range(2):
        image, label = organ(seed)
        volume(tmp_path / "s" / "images" / f"c{seed}.nii.gz", image)
        volume(tmp_path / "s" / "masks" / f"c{seed}.nii.gz", label)
    path = tmp_path / "s" / "masks" / "c1.nii.gz"
    wrong = sitk.ReadImage(str(path))
    wrong.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, 1))
    sitk.WriteImage(wrong, str(path))
    with pytest.raises(
        DataError, match=r"masks/c1\.nii\.gz and .*images/c1\.nii\.gz are stored along other axes"
    ):
        bring(tmp_path / "s")
    assert bring(tmp_path / "s", by_voxels=True).cases == 2


def test_a_label_whose_axes_no_permutation_brings_to_its_image_is_refused(tmp_path: Path) -> None:
    """Of the same size and spacing in the file, but of another plane in the world."""
    for seed in range(2):
        image, label = organ(seed)
        volume(tmp_path / "s" / "images" / f"c{seed}.mha", image)
        volume(tmp_path / "s" / "masks" / f"c{seed}.mha", label)
    path = tmp_path / "s" / "masks" / "c1.mha"
    wrong = sitk.ReadImage(str(path))
    wrong.SetDirection((1, 0, 0, 0, 0, 1, 0, -1, 0))
    sitk.WriteImage(wrong, str(path))
    with pytest.raises(DataError, match=r"masks/c1\.mha and .*images/c1\.mha are stored along other axes"):
        bring(tmp_path / "s")
    assert bring(tmp_path / "s", by_voxels=True).cases == 2


def test_the_sform_brings_its_sizes_of_a_voxel(tmp_path: Path) -> None:
    for seed in range(2):
        image, label = organ(seed)
        for part, array in (("images", image), ("masks", label)):
            nifti = nibabel.Nifti1Image(array.transpose(2, 1, 0), np.diag((-1.6, -1.6, 5, 1)))
            nifti.header["pixdim"][1:4] = (0.8, 0.8, 2)
            (tmp_path / "s" / part).mkdir(parents=True, exist_ok=True)
            nibabel.save(nifti, tmp_path / "s" / part / f"c{seed}.nii.gz")
    with pytest.raises(DataError, match=r"other voxel sizes.*--orientation sform"):
        bring(tmp_path / "s")
    done = bring(tmp_path / "s", orientation="sform")
    assert sitk.ReadImage(str(done.root / "imagesTr" / "c0_0000.nii.gz")).GetSpacing() == pytest.approx(
        (1.6, 1.6, 5)
    )


# ---- Masks


@pytest.mark.parametrize(
    "marks", [("_mask", "_mask_1", "_mask_2"), ("_mask", "_mask2", "_mask3"), ("_seg_1", "_seg_2")]
)
@pytest.mark.parametrize("folders", [False, True])
def test_several_masks_of_a_picture_are_united(tmp_path: Path, marks: tuple[str, ...], folders: bool) -> None:
    source = tmp_path / "s"
    images, masks = (source / "images", source / "masks") if folders else (source, source)
    whole = {}
    for number in range(3):
        parts = [square(2 + 4 * k, 2 + 8 * k) for k in range(len(marks) if number == 1 else 1)]
        whole[number] = np.maximum.reduce(parts) > 0
        picture(images / f"benign ({number}).png", grey(number, parts[0]))
        for mark, part in zip(marks, parts, strict=False):
            picture(masks / f"benign ({number}){mark}.png", part)
    done = bring(source)
    assert (done.cases, done.unlabelled) == (3, 0)
    for number in range(3):
        label = np.asarray(Image.open(done.root / "labelsTr" / f"benign_{number}.png"))
        np.testing.assert_array_equal(label, whole[number])


def test_masks_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    for number in range(2):
        picture(tmp_path / "s" / f"a{number}.png", grey(number, square()))
        picture(tmp_path / "s" / f"a{number}_mask.png", square())
    picture(tmp_path / "s" / "a1_mask_1.png", square() // 2)
    with pytest.raises(DataError, match="give one pixel two labels"):
        bring(tmp_path / "s")


def pairs(source: Path, mask: str = ".png", **options: object) -> None:
    for number in range(3):
        picture(source / "images" / f"p{number}.png", grey(number, square()))
        (source / "masks").mkdir(exist_ok=True)
        Image.fromarray(square(4 + number, 6 + number)).save(source / "masks" / f"p{number}{mask}", **options)


@pytest.mark.parametrize("quality", [100, 95, 60])
def test_jpeg_masks_are_refused(tmp_path: Path, quality: int) -> None:
    pairs(tmp_path / "s", ".jpg", quality=quality)
    with pytest.raises(DataError, match=r"masks/p\d\.jpg holds .* values .*lossy format.*as PNG"):
        bring(tmp_path / "s")
    with pytest.raises(DataError, match="lossy format"):
        bring(tmp_path / "s", labels={"organ": 255})


def test_smoothly_scaled_masks_are_refused_and_grey_classes_are_not(tmp_path: Path) -> None:
    pairs(tmp_path / "a")
    for path in (tmp_path / "a" / "masks").iterdir():
        small = Image.open(path).resize((11, 9), Image.Resampling.NEAREST)
        small.resize((30, 24), Image.Resampling.BILINEAR).save(path)
    with pytest.raises(DataError, match="smooth scaling"):
        bring(tmp_path / "a")
    for number in range(3):
        mask = square() // 3
        mask[15:20, 20:28], mask[20:24, :9] = 170, 255
        picture(tmp_path / "b" / "images" / f"p{number}.png", grey(number, mask))
        picture(tmp_path / "b" / "masks" / f"p{number}.png", mask)
    done = bring(tmp_path / "b")
    assert set(done.document["labels"].values()) == {0, 1, 2, 3}


def test_palettes_of_their_own_are_refused_and_one_for_all_is_not(tmp_path: Path) -> None:
    pairs(tmp_path / "s")
    for number, path in enumerate(sorted((tmp_path / "s" / "masks").iterdir())):
        indexed = Image.fromarray(square() // 255)
        indexed.putpalette([0, 0, 0, 255, 0, 0])
        indexed.save(path.with_name(f"p{number}.png"))
    assert bring(tmp_path / "s").cases == 3
    indexed = Image.fromarray(square() // 255)
    indexed.putpalette([0, 0, 0, 0, 0, 255])
    indexed.save(tmp_path / "s" / "masks" / "p2.png")
    with pytest.raises(DataError, match=r"value 1 in the colour \(255, 0, 0\), .*p2\.png in \(0, 0, 255\)"):
        import_dataset(
            tmp_path / "s", Workspace.locate(tmp_path / "other"), "Made", request=Request(workers=1)
        )


def test_palettes_of_tiffs_count_too(tmp_path: Path) -> None:
    for number, colours in enumerate(([255, 0, 0], [255, 0, 0], [0, 0, 255])):
        picture(tmp_path / "s" / "images" / f"p{number}.png", grey(number, square(4 + number)))
        indexed = Image.fromarray(square(4 + number) // 255)
        indexed.putpalette([0, 0, 0, *colours] + [0] * 762)
        (tmp_path / "s" / "masks").mkdir(exist_ok=True)
        indexed.save(tmp_path / "s" / "masks" / f"p{number}.tif")
    with pytest.raises(DataError, match=r"value 1 in the colour \(255, 0, 0\), .*p2\.tif in \(0, 0, 255\)"):
        bring(tmp_path / "s")
    (tmp_path / "s" / "masks" / "p2.tif").unlink()
    (tmp_path / "s" / "images" / "p2.png").unlink()
    assert bring(tmp_path / "s").cases == 2


def test_a_picture_that_exif_turns_is_refused(tmp_path: Path) -> None:
    pairs(tmp_path / "s")
    exif = Image.Exif()
    exif[274] = 6
    (tmp_path / "s" / "images" / "p1.png").unlink()
    Image.fromarray(grey(1, square())).save(tmp_path / "s" / "images" / "p1.jpg", exif=exif)
    with pytest.raises(DataError, match=r"p1\.jpg .*EXIF orientation 6"):
        bring(tmp_path / "s")


def test_names_that_differ_in_case_alone_belong_together(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / "s" / "Images" / f"IMG_{number}.PNG", grey(number, square()))
        picture(tmp_path / "s" / "Masks" / f"img_{number}.png", square())
    assert bring(tmp_path / "s").cases == 3


# ---- Volumes


def four(path: Path, parts: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.stack(parts, -1), np.eye(4)), path)


def test_a_fourth_dimension_becomes_channels_and_never_a_label(tmp_path: Path) -> None:
    for seed in range(2):
        image, label = (array.transpose(2, 1, 0) for array in organ(seed))
        four(tmp_path / "s" / "images" / f"c{seed}.nii.gz", [image, 300 - image])
        (tmp_path / "s" / "masks").mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), tmp_path / "s" / "masks" / f"c{seed}.nii.gz")
    done = bring(tmp_path / "s")
    assert list(done.document["channel_names"].values()) == ["channel_0", "channel_1"]
    image = organ(1)[0]
    np.testing.assert_array_equal(read(done.root / "imagesTr" / "c1_0000.nii.gz"), image)
    np.testing.assert_array_equal(read(done.root / "imagesTr" / "c1_0001.nii.gz"), 300 - image)
    for seed in range(2):
        image, label = (array.transpose(2, 1, 0) for array in organ(seed))
        (tmp_path / "t" / "images").mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), tmp_path / "t" / "images" / f"c{seed}.nii.gz")
        four(tmp_path / "t" / "masks" / f"c{seed}.nii.gz", [np.uint8(label == k) for k in range(3)])
    with pytest.raises(DataError, match=r"masks/c0\.nii\.gz has 4 dimensions, 3 volumes"):
        bring(tmp_path / "t")


def test_labels_that_a_header_scales_are_written_as_whole_numbers(tmp_path: Path) -> None:
    for seed in range(2):
        image, label = organ(seed)
        volume(tmp_path / "s" / "images" / f"c{seed}.nii.gz", image)
        volume(tmp_path / "s" / "masks" / f"c{seed}.nii.gz", label)
        stored = nibabel.load(tmp_path / "s" / "masks" / f"c{seed}.nii.gz")
        scaled = nibabel.Nifti1Image(np.asarray(stored.dataobj, np.float32), stored.affine)
        scaled.set_data_dtype(np.int16)
        nibabel.save(scaled, tmp_path / "s" / "masks" / f"c{seed}.nii.gz")
    done = bring(tmp_path / "s")
    written = read(done.root / "labelsTr" / "c1.nii.gz")
    assert written.dtype == np.uint8
    np.testing.assert_array_equal(written, organ(1)[1])


def test_a_folder_a_patient_is_a_group(tmp_path: Path) -> None:
    for patient in range(3):
        for frame in (1, 12):
            image, label = organ(patient)
            place = tmp_path / "s" / f"patient{patient:03d}"
            volume(place / f"patient{patient:03d}_frame{frame:02d}.nii.gz", image + frame)
            volume(place / f"patient{patient:03d}_frame{frame:02d}_gt.nii.gz", label)
    done = bring(tmp_path / "s")
    with (done.root / "groups.csv").open(newline="") as file:
        groups = {row["case"]: row["group"] for row in csv.DictReader(file)}
    assert groups["patient001_frame01"] == groups["patient001_frame12"] != groups["patient002_frame01"]
    assert len(set(groups.values())) == 3


# ---- Links


def test_loops_pipes_and_links_to_nothing(tmp_path: Path) -> None:
    import os

    pairs(tmp_path / "s")
    (tmp_path / "s" / "images" / "again").symlink_to(tmp_path / "s")
    (tmp_path / "s" / "images" / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "s" / "images" / "pipe.png")
    assert [path.name for path in files_below(tmp_path / "s")] == ["p0.png", "p1.png", "p2.png"] * 2
    done = bring(tmp_path / "s")
    assert done.cases == 3
    assert any("1 links point to nothing and are left out: images/gone.png" in note for note in done.notes)


def test_a_needed_file_behind_a_broken_link_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "s" / "images" / "p0.png", grey(0, square()))
    (tmp_path / "s" / "masks").mkdir()
    (tmp_path / "s" / "masks" / "p0.png").symlink_to("annex/p0.png")
    picture(tmp_path / "s" / "masks" / "q.png", square())
    with pytest.raises(DataError, match=r"1 links point to nothing and are left out: masks/p0\.png"):
        bring(tmp_path / "s")


def test_masks_that_may_be_inverted_are_told(tmp_path: Path) -> None:
    pairs(tmp_path / "s")
    assert not any("exchanged" in note for note in bring(tmp_path / "s").notes)
    for path in (tmp_path / "s" / "masks").iterdir():
        picture(path, 255 - np.asarray(Image.open(path)))
    done = import_dataset(
        tmp_path / "s", Workspace.locate(tmp_path / "w"), "Made", request=Request(workers=1)
    )
    assert any("3 of 3 masks have their label all along the border" in note for note in done.notes)
