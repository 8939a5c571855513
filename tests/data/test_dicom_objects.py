"""SEG and RTSTRUCT: what is written is read back without the product, at the same places of the patient."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_readers import complaints, contour_masks, dcmqi_places, near, seg_places, seg_references
from dicom_series import DATASET_JSON, PLANES, Series, shapes, write_series

from autoseg.data.codes import ANATOMY, TISSUE, codes_of, parse_coded
from autoseg.data.dataset_json import labels_from_json
from autoseg.data.dicom import find_volumes
from autoseg.data.dicom_objects.contours import outlines
from autoseg.data.dicom_objects.maker import Maker
from autoseg.data.dicom_objects.segmentation import write_segmentation_object
from autoseg.data.dicom_objects.source import Source
from autoseg.data.dicom_objects.structure_set import write_structure_set
from autoseg.data.dicom_objects.structures import Structure, structures_of
from autoseg.errors import DataError, UsageError

MAKER = Maker("Dataset900_Test nnunet", "0.1.0", "ab" * 32, {"mirroring": True})


def structures(dataset_json: Mapping[str, Any]) -> tuple[Structure, ...]:
    return structures_of(labels_from_json(dataset_json), codes_of(dataset_json))


STRUCTURES = structures({**DATASET_JSON, "codes": {"outer": "SCT 10200004 Liver"}})
REGIONS = {
    **DATASET_JSON,
    "labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3},
    "regions_class_order": [1, 2],
}


def source_of(series: Series) -> Source:
    (stack,) = find_volumes(series.folder.iterdir()).stacks
    return Source(stack.frames)


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
@pytest.mark.parametrize("frames", [False, True])
@pytest.mark.parametrize("plane", PLANES)
def test_a_seg_has_the_voxels_where_they_are(plane: str, frames: bool, kind: str, tmp_path: Path) -> None:
    series = write_series(tmp_path / "in", plane, down=plane != "axial", frames=frames)
    path = tmp_path / "out.dcm"
    write_segmentation_object(series.labels, path, source_of(series), STRUCTURES, MAKER, kind)
    wanted = {name: near(series.places(series.labels == n)) for n, name in ((1, "outer"), (2, "inner"))}
    assert {name: near(places) for name, places in seg_places(path).items()} == wanted
    assert {n: near(places) for n, places in dcmqi_places(path, tmp_path / "dcmqi").items()} == {
        1: wanted["outer"],
        2: wanted["inner"],
    }
    by_place = {near(series.positions[n : n + 1]).pop(): uid for n, uid in enumerate(series.uids)}
    assert seg_references(path).items() <= by_place.items()
    assert complaints(path) == ""


@pytest.mark.parametrize("how", ["xor", "union"])
@pytest.mark.parametrize("frames", [False, True])
@pytest.mark.parametrize("plane", PLANES)
def test_contours_hold_the_centres_of_the_voxels(plane: str, frames: bool, how: str, tmp_path: Path) -> None:
    series = write_series(tmp_path / "in", plane, down=plane != "axial", frames=frames)
    path = tmp_path / "out.dcm"
    write_structure_set(series.labels, path, source_of(series), STRUCTURES, MAKER)
    masks = contour_masks(path, series, how)
    assert np.array_equal(masks["outer"], series.labels == 1)
    assert np.array_equal(masks["inner"], series.labels == 2)
    assert complaints(path) == ""


def test_outlines_of_any_mask_give_it_back() -> None:
    from scipy.ndimage import gaussian_filter
    from skimage.draw import polygon

    drawn = np.random.default_rng(0)
    for _ in range(60):
        noise = gaussian_filter(drawn.normal(size=(31, 37)), drawn.uniform(0, 3))
        mask = noise > np.quantile(noise, drawn.uniform(0.1, 0.95))
        filled = np.zeros_like(mask)
        for points in outlines(mask):
            rows, columns = polygon(*points.T, mask.shape)
            assert not filled[rows, columns].any()
            filled[rows, columns] = True
        assert np.array_equal(filled, mask)


def test_an_island_in_a_hole_is_a_polygon_of_its_own() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2:18, 2:18], mask[5:15, 5:15], mask[8:12, 8:12], mask[9:11, 9:11] = True, False, True, False
    assert len(outlines(mask)) == 2
    assert outlines(np.zeros((5, 5), bool)) == []


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_nothing_found_is_written_too(kind: str, tmp_path: Path) -> None:
    series = write_series(tmp_path / "in")
    nothing, path = np.zeros_like(series.labels), tmp_path / "out.dcm"
    write_segmentation_object(nothing, path, source_of(series), STRUCTURES, MAKER, kind)
    assert all(len(places) == 0 for places in seg_places(path).values())
    assert dcmqi_places(path, tmp_path / "dcmqi") == {}
    assert complaints(path) == ""


def test_contours_of_nothing_name_the_structures(tmp_path: Path) -> None:
    series, path = write_series(tmp_path / "in"), tmp_path / "out.dcm"
    write_structure_set(np.zeros_like(series.labels), path, source_of(series), STRUCTURES, MAKER)
    found = pydicom.dcmread(path)
    assert [str(each.ROIName) for each in found.StructureSetROISequence] == ["outer", "inner"]
    assert not any("ContourSequence" in each for each in found.ROIContourSequence)
    assert complaints(path) == ""


def test_one_structure_may_be_missing(tmp_path: Path) -> None:
    series, path = write_series(tmp_path / "in"), tmp_path / "out.dcm"
    only = np.where(series.labels == 2, 2, 0).astype(np.uint8)
    write_segmentation_object(only, path, source_of(series), STRUCTURES, MAKER)
    places = seg_places(path)
    assert len(places["outer"]) == 0 and near(places["inner"]) == near(series.places(only == 2))
    assert complaints(path) == ""


def test_an_object_says_what_and_by_whom(tmp_path: Path) -> None:
    series, source = write_series(tmp_path / "in"), None
    source = source_of(series)
    seg, contours = tmp_path / "seg.dcm", tmp_path / "rt.dcm"
    write_segmentation_object(series.labels, seg, source, STRUCTURES, MAKER)
    write_structure_set(series.labels, contours, source, STRUCTURES, MAKER)
    found, rois = pydicom.dcmread(seg), pydicom.dcmread(contours)
    liver, other = found.SegmentSequence
    assert _code(liver.SegmentedPropertyTypeCodeSequence[0]) == "SCT 10200004 Liver"
    assert _code(liver.SegmentedPropertyCategoryCodeSequence[0]) == str(ANATOMY)
    assert _code(other.SegmentedPropertyTypeCodeSequence[0]) == str(TISSUE)
    (by,) = liver.SegmentationAlgorithmIdentificationSequence
    assert by.AlgorithmName == MAKER.name and "ab" * 8 in by.AlgorithmVersion
    assert "ab" * 32 in str(by.AlgorithmParameters)
    assert _code(rois.RTROIObservationsSequence[0].RTROIIdentificationCodeSequence[0]) == "SCT 10200004 Liver"
    assert "ab" * 32 in rois.StructureSetDescription
    for each in (found, rois):
        assert each.PatientID == "SYN0001" and each.StudyInstanceUID == source.first.StudyInstanceUID
        assert each.FrameOfReferenceUID == source.first.FrameOfReferenceUID
        assert each.SeriesInstanceUID != source.first.SeriesInstanceUID


def _code(item: Any) -> str:
    return f"{item.CodingSchemeDesignator} {item.CodeValue} {item.CodeMeaning}"


def test_regions_overlap_in_a_binary_seg_and_in_contours_alone(tmp_path: Path) -> None:
    series, regions = write_series(tmp_path / "in"), structures(REGIONS)
    assert [(each.name, each.values) for each in regions] == [("whole", (1, 2)), ("core", (2,))]
    source, path = source_of(series), tmp_path / "out.dcm"
    write_segmentation_object(series.labels, path, source, regions, MAKER)
    places = seg_places(path)
    assert near(places["whole"]) == near(series.places(series.labels > 0))
    assert near(places["core"]) == near(series.places(series.labels == 2))
    assert complaints(path) == ""
    write_structure_set(series.labels, path, source, regions, MAKER)
    assert np.array_equal(contour_masks(path, series)["whole"], series.labels > 0)
    with pytest.raises(UsageError, match="overlap"):
        write_segmentation_object(series.labels, path, source, regions, MAKER, "labelmap")


def test_a_tilted_series_gets_its_own_planes(tmp_path: Path) -> None:
    series = write_series(tmp_path / "in", "oblique", tilt=12)
    path = tmp_path / "out.dcm"
    write_segmentation_object(series.labels, path, source_of(series), STRUCTURES, MAKER)
    assert near(seg_places(path)["outer"]) == near(series.places(series.labels == 1))
    write_structure_set(series.labels, path, source_of(series), STRUCTURES, MAKER)
    assert np.array_equal(contour_masks(path, series)["outer"], series.labels == 1)


def test_some_frames_of_a_file_keep_their_numbers(tmp_path: Path) -> None:
    series = write_series(tmp_path / "in", frames=True, down=True)
    whole, path = source_of(series), tmp_path / "out.dcm"
    part = Source(whole.slices[2:8])
    write_segmentation_object(series.labels[2:8], path, part, STRUCTURES, MAKER)
    by_place = {near(series.positions[n : n + 1]).pop(): series.uids[n] for n in range(2, 8)}
    assert seg_references(path).items() <= by_place.items()
    wanted = np.zeros_like(series.labels, bool)
    wanted[2:8] = series.labels[2:8] == 1
    assert near(seg_places(path)["outer"]) == near(series.places(wanted))
    # Nothing of the source was changed on the way: it is written upon once more.
    write_segmentation_object(series.labels[2:8], path, part, STRUCTURES, MAKER, "labelmap")
    assert seg_references(path).items() <= by_place.items()
    assert near(seg_places(path)["outer"]) == near(series.places(wanted))


@pytest.mark.parametrize("missing", ["FrameOfReferenceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_a_series_without_an_identifier_gets_the_same_one_each_time(
    missing: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    series = write_series(tmp_path / "in")
    for path in series.folder.iterdir():
        found = pydicom.dcmread(path)
        setattr(found, missing, "")
        found.save_as(path)
    seg, contours = tmp_path / "seg.dcm", tmp_path / "rt.dcm"
    write_segmentation_object(series.labels, seg, source_of(series), STRUCTURES, MAKER)
    write_structure_set(series.labels, contours, source_of(series), STRUCTURES, MAKER)
    assert f"has no {missing}" in caplog.text
    one, other = pydicom.dcmread(seg), pydicom.dcmread(contours)
    (place,) = other.ReferencedFrameOfReferenceSequence
    (study,) = place.RTReferencedStudySequence
    (same,) = study.RTReferencedSeriesSequence
    assert one.StudyInstanceUID == other.StudyInstanceUID == study.ReferencedSOPInstanceUID
    assert one.FrameOfReferenceUID == place.FrameOfReferenceUID
    assert one.ReferencedSeriesSequence[0].SeriesInstanceUID == same.SeriesInstanceUID
    assert complaints(seg) == complaints(contours) == ""


def test_a_picture_without_a_place_is_refused(tmp_path: Path) -> None:
    series = write_series(tmp_path / "in", labels=shapes(1), modality="US")
    (path,) = series.folder.iterdir()
    found = pydicom.dcmread(path)
    del found.ImagePositionPatient
    found.save_as(path)
    for write in (write_segmentation_object, write_structure_set):
        with pytest.raises(DataError, match="does not state where it lies"):
            write(series.labels, tmp_path / "out.dcm", source_of(series), STRUCTURES, MAKER)
    assert not list(tmp_path.glob("*.dcm"))


def test_a_series_without_a_patient_is_written(tmp_path: Path) -> None:
    series = write_series(tmp_path / "in", labels=shapes())
    for path in series.folder.iterdir():
        found = pydicom.dcmread(path)
        for keyword in ("PatientID", "PatientName", "PatientBirthDate", "StudyDate", "AccessionNumber"):
            delattr(found, keyword)
        found.save_as(path)
    seg, contours = tmp_path / "seg.dcm", tmp_path / "rt.dcm"
    write_segmentation_object(series.labels, seg, source_of(series), STRUCTURES, MAKER)
    write_structure_set(series.labels, contours, source_of(series), STRUCTURES, MAKER)
    assert complaints(seg) == complaints(contours) == ""


@pytest.mark.parametrize(
    ("codes", "word"),
    [
        ({"outer": "10200004"}, "not a code"),
        ({"outer": "SCT 10200004"}, "not a code"),
        ({"outer": ["SCT 1 A", "SCT 2 B", "SCT 3 C"]}, "3 codes"),
        ({"outer": "SCT 10200004102000041 Liver"}, "16 characters"),
        ({"liver": "SCT 10200004 Liver"}, "no label"),
        (["liver"], "names and codes"),
    ],
)
def test_codes_that_are_none_are_refused(codes: Any, word: str) -> None:
    with pytest.raises(DataError, match=word):
        codes_of({**DATASET_JSON, "codes": codes})


def test_a_category_may_be_given() -> None:
    coded = parse_coded(["SCT 49755003 Morphologically Abnormal Structure", "SCT 4147007 Mass"])
    assert (coded.category.value, coded.type.meaning) == ("49755003", "Mass")
