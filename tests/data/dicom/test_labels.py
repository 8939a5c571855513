"""SEG of three kinds, and RTSTRUCT with holes, islands and oblique planes: voxel for voxel on the image."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import AXIAL, enhanced, position, save, volume, write_series
from dicom_labels import write_rtstruct, write_seg
from skimage.measure import find_contours

from autoseg.data.dicom import Drawing, Stack, draw, find_volumes
from autoseg.data.dicom.contours import fill
from autoseg.data.dicom.drawing import Part
from autoseg.data.dicom.label_objects import LabelObject
from autoseg.data.dicom.regular import onto_source
from autoseg.data.image import ImageError

SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
OBLIQUE = (
    0.9396926207859084,
    0.3420201433256687,
    0.0,
    -0.3213938048432697,
    0.8830222215594891,
    0.3420201433256687,
)


def series(tmp_path: Path, cosines: tuple[float, ...] = AXIAL, count: int = 8) -> list[Path]:
    stored = volume(shape=(count, 24, 20))
    return write_series(tmp_path / "images", stored, cosines=cosines, spacing=(0.8, 1.2))


def one_of(tmp_path: Path) -> tuple[Stack, LabelObject]:
    found = find_volumes(path for path in sorted(tmp_path.rglob("*")) if path.is_file())
    assert not found.problems and not found.left_out
    (stack,), (label,) = found.stacks, found.segmentations
    return stack, label


def drawn(stack: Stack, label: LabelObject, **more: object) -> np.ndarray:
    values = tuple((structure.number, structure.number) for structure in label.structures)
    return draw(Drawing(stack, (Part(label, values),), **more)).array  # type: ignore[arg-type]


def two_masks(count: int = 8) -> np.ndarray:
    masks = np.zeros((count, 24, 20, 2), np.uint8)
    masks[2:6, 4:15, 3:9, 0] = 1
    masks[3, 5:7, 12:19, 1] = 1
    return masks


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("cosines", [AXIAL, SAGITTAL, OBLIQUE])
def test_segmentations_come_in_voxel_for_voxel(tmp_path: Path, kind: str, cosines: tuple[float, ...]) -> None:
    sources, masks = series(tmp_path, cosines), two_masks()
    write_seg(tmp_path / "seg", sources, masks, ["liver", "tumour"], kind)
    stack, label = one_of(tmp_path)
    assert label.kind == kind and [s.name for s in label.structures] == ["liver", "tumour"]
    assert label.structures[0].code == "SCT 10200004 Liver"
    wanted = masks[..., 0] + 2 * masks[..., 1]
    backwards = stack.header.path != sources[0]
    assert np.array_equal(drawn(stack, label), wanted[::-1] if backwards else wanted)


def test_the_threshold_of_fractional_segments_counts(tmp_path: Path) -> None:
    sources, shares = series(tmp_path), np.zeros((8, 24, 20, 1))
    shares[3, 2:8, 2:8], shares[4, 2:8, 2:8] = 0.4, 0.8
    write_seg(tmp_path / "seg", sources, shares, ["organ"], "FRACTIONAL")
    stack, label = one_of(tmp_path)
    assert [int((drawn(stack, label, threshold=t) > 0).sum()) for t in (0.3, 0.5, 0.9)] == [72, 36, 0]


def test_structures_that_overlap_are_refused_unless_one_lies_on_top(tmp_path: Path) -> None:
    sources, masks = series(tmp_path), two_masks()
    masks[3, 5:7, 5:8, 1] = 1
    write_seg(tmp_path / "seg", sources, masks, ["liver", "tumour"])
    stack, label = one_of(tmp_path)
    with pytest.raises(
        ImageError, match=r"6 voxels in both 'liver' and 'tumour'.*--labels 'liver=1,tumour=2'"
    ):
        drawn(stack, label)
    array = drawn(stack, label, layered=True)
    assert (array == 2).sum() == masks[..., 1].sum() and (array == 1).sum() == masks[..., 0].sum() - 6


def contours_of(mask: np.ndarray, cosines: tuple[float, ...] = AXIAL) -> list[np.ndarray]:
    """The borders of a mask halfway between voxels, in mm."""
    row, column = np.reshape(cosines, (2, 3))
    found = []
    for k, plane in enumerate(mask):
        start = np.array(position(k, 2.0, cosines, (-10.0, -20.0, 30.0)))
        for points in find_contours(np.pad(plane.astype(float), 1), 0.5):
            y, x = (points - 1).T
            found.append(start + np.outer(x * 1.2, row) + np.outer(y * 0.8, column))
    return found


def holes_and_islands() -> np.ndarray:
    mask = np.zeros((8, 24, 20), bool)
    mask[2:6, 2:20, 2:18] = True
    mask[2:6, 5:17, 5:15] = False
    mask[2:6, 8:13, 8:12] = True
    mask[4, 21:23, 2:5] = True
    return mask


@pytest.mark.parametrize("cosines", [AXIAL, SAGITTAL, OBLIQUE])
def test_contours_give_back_the_mask_they_were_drawn_from(tmp_path: Path, cosines: tuple[float, ...]) -> None:
    sources, mask = series(tmp_path, cosines), holes_and_islands()
    write_rtstruct(tmp_path / "rt", sources[0], {"organ": contours_of(mask, cosines), "empty": []})
    stack, label = one_of(tmp_path)
    assert label.kind == "RTSTRUCT" and label.name == "contours"
    backwards = stack.header.path != sources[0]
    assert np.array_equal(drawn(stack, label), (mask[::-1] if backwards else mask).astype(np.uint8))


def test_contours_through_the_centres_of_border_voxels_count_them_in() -> None:
    square = np.array([(2, 2), (2, 7), (9, 7), (9, 2)], float)
    hole = np.array([(4, 4), (4, 6), (7, 6), (7, 4)], float)
    mask = fill([hole, square], (12, 10))
    wanted = np.zeros((12, 10), bool)
    wanted[2:10, 2:8] = True
    wanted[5:7, 5] = False
    assert np.array_equal(mask, wanted)
    assert np.array_equal(fill([square, square + 1e-5], (12, 10)), fill([square], (12, 10)))
    # The keyhole form: out along a channel of no width, round the hole, and back.
    keyhole = np.array([*square, square[0], hole[0], *hole[::-1], square[0]])
    assert np.array_equal(fill([keyhole], (12, 10)) | np.pad(wanted[4:8, 4:7], ((4, 4), (4, 3))), wanted)


def test_contours_across_the_slices_are_taken_onto_them(tmp_path: Path) -> None:
    sources = series(tmp_path, count=16)
    # A box of 12 x 8 x 16 mm, drawn on sagittal planes 1.2 mm apart.
    low, high = np.array([-4.6, -14.0, 37.0]), np.array([7.4, -6.0, 53.0])
    planes = np.arange(low[0] + 0.6, high[0], 1.2)
    corners = [(low[1], low[2]), (high[1], low[2]), (high[1], high[2]), (low[1], high[2])]
    contours = [np.array([(x, y, z) for y, z in corners]) for x in planes]
    write_rtstruct(tmp_path / "rt", sources[0], {"box": contours})
    stack, label = one_of(tmp_path)
    volume_mm3 = drawn(stack, label).sum() * 0.8 * 1.2 * 2.0
    assert volume_mm3 == pytest.approx(12 * 8 * 16, rel=0.01)
    z, y, x = np.nonzero(drawn(stack, label))
    centre = np.array([x.mean() * 1.2 - 10, y.mean() * 0.8 - 20, z.mean() * 2 + 30])
    assert np.abs(centre - (low + high) / 2).max() < 0.6


def test_a_segmentation_on_another_grid_is_taken_onto_the_image(tmp_path: Path) -> None:
    sources = series(tmp_path)
    fine = write_series(
        tmp_path / "fine",
        volume(shape=(8, 48, 40)),
        spacing=(0.4, 0.6),
        origin=(-10.3, -20.2, 30.0),
        series=2,
    )
    masks = np.zeros((8, 48, 40, 1), np.uint8)
    masks[2:6, 8:30, 6:18] = 1
    write_seg(tmp_path / "seg", fine, masks, ["liver"])
    for path in fine:
        path.unlink()
    stack, label = one_of(tmp_path)
    assert stack.header.path in sources
    result = draw(Drawing(stack, (Part(label, ((1, 1),)),)))
    assert 0.1 < result.moved_mm < 0.5
    assert np.array_equal(np.unique(np.nonzero(result.array)[0]), [2, 3, 4, 5])
    assert result.array.sum() * 0.8 * 1.2 == pytest.approx(masks.sum() * 0.4 * 0.6, rel=0.1)


def test_segmentations_of_a_multi_frame_image_and_of_a_tilted_series_are_taken_slice_by_slice(
    tmp_path: Path,
) -> None:
    masks = two_masks()
    starts = [position(k, 2.0, AXIAL, (0, 0, 0)) for k in (3, 0, 1, 7, 2, 5, 4, 6)]
    whole = save(enhanced(volume(shape=(8, 24, 20)), starts), tmp_path / "multi" / "image")
    write_seg(tmp_path / "multi" / "seg", [whole], masks, ["liver", "tumour"])
    stack, label = one_of(tmp_path / "multi")
    wanted = masks[..., 0] + 2 * masks[..., 1]
    assert np.array_equal(drawn(stack, label), wanted[[frame.number - 1 for frame in stack.frames]])
    tilted = [[0.0, 0.5 * k, 2.0 * k] for k in range(8)]
    sources = write_series(tmp_path / "tilt" / "ct", volume(shape=(8, 24, 20)), positions=tilted)
    write_seg(tmp_path / "tilt" / "seg", sources, masks, ["liver", "tumour"])
    stack, label = one_of(tmp_path / "tilt")
    upright = drawn(stack, label)
    assert upright.shape == (8, 28, 20) == stack.placing.shape
    assert np.array_equal(onto_source(upright, stack.placing, 24, 20), wanted)


def test_what_dcmqi_writes_is_read(tmp_path: Path) -> None:
    """A second writer: cropped to the slices with content, as its users have it."""
    dcmqi = pytest.importorskip("dcmqi", reason="dcmqi writes the segmentation that is read here")
    tool = next((path for path in Path(dcmqi.__file__).parent.rglob("itkimage2segimage*")), None)
    assert tool is not None
    sources, masks = series(tmp_path), two_masks()
    image = sitk.GetImageFromArray(masks[..., 0] + 2 * masks[..., 1])
    image.SetSpacing((1.2, 0.8, 2.0))
    image.SetOrigin((-10.0, -20.0, 30.0))
    sitk.WriteImage(image, str(tmp_path / "label.nii"))
    code = {"CodeValue": "10200004", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Liver"}
    kind = {"CodeValue": "123037004", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Anatomical Structure"}
    about = {
        "SegmentAlgorithmType": "MANUAL",
        "SegmentedPropertyCategoryCodeSequence": kind,
        "SegmentedPropertyTypeCodeSequence": code,
    }
    segments = [{"labelID": n, "SegmentLabel": name, **about} for n, name in ((1, "liver"), (2, "tumour"))]
    words = {
        "ContentCreatorName": "Nobody",
        "SeriesNumber": "9",
        "InstanceNumber": "1",
        "BodyPartExamined": "",
    }
    meta = {**words, "SeriesDescription": "drawn", "segmentAttributes": [segments]}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    command = [str(tool), "--inputImageList", "label.nii", "--inputDICOMDirectory", "images"]
    command += ["--inputMetadata", "meta.json", "--outputDICOM", "seg.dcm", "--skip"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = find_volumes([*sources, tmp_path / "seg.dcm"])
    (stack,), (label,) = found.stacks, found.segmentations
    assert np.array_equal(drawn(stack, label), masks[..., 0] + 2 * masks[..., 1])
