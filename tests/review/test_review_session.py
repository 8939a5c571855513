"""What is stored: on the file's own grid, in its format, beside the original; and what survives a kill."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from review_cases import ORIENTATIONS, SHAPE, label_array, make_review, make_volumes, write_volume

from autoseg.data.readers import read_segmentation
from autoseg.errors import DataError
from autoseg.review.journal import LOG_NAME, Journal
from autoseg.review.session import Session

HEADER = 352


def session_of(root: Path, kind: str = "labels") -> Session:
    review = make_review(root, root.parent / "review", kind)
    return Session(review, Journal(review.folder))


def shown(session: Session, name: str, index: int = 0) -> np.ndarray:
    """A layer as the page has it, (z, y, x)."""
    content = session.layer(index, name)
    x, y, z = np.frombuffer(content, "<i2", 3, 42)
    return np.frombuffer(content, np.uint8, offset=HEADER).reshape(z, y, x)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_page_has_one_orientation_and_the_file_keeps_its_own(tmp_path: Path, orientation: str) -> None:
    session = session_of(make_volumes(tmp_path / "Dataset007_Boxes", orientation=orientation))
    drawing = shown(session, "drawing")
    # From LPS to RAS: x and y run the other way.
    assert np.array_equal(drawing, label_array()[:, ::-1, ::-1])
    changed = drawing.copy()
    changed[0, 0, 0], changed[5, 9, 6] = 2, 1
    case = session.review.cases[0]
    before = case.reference.read_bytes()  # type: ignore[union-attr]
    session.save(0, changed.tobytes(), "me")
    saved = session.journal.state(case.case).corrected
    assert saved is not None and saved.name == "0001.nii.gz"
    found, original = sitk.ReadImage(str(saved)), sitk.ReadImage(str(case.reference))
    for fact in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert np.allclose(getattr(found, fact)(), getattr(original, fact)())
    upright = sitk.GetArrayFromImage(sitk.DICOMOrient(found, "RAS"))
    assert np.array_equal(upright, changed)
    assert case.reference.read_bytes() == before  # type: ignore[union-attr]
    assert np.array_equal(shown(session, "drawing"), changed)


def test_the_header_that_the_viewers_get_places_the_voxels_where_the_file_does(tmp_path: Path) -> None:
    session = session_of(make_volumes(tmp_path / "Dataset007_Boxes", orientation="SAR"))
    path = tmp_path / "shown.nii"
    path.write_bytes(session.image(0, 0))
    found = sitk.ReadImage(str(path))
    original = sitk.ReadImage(str(session.review.cases[0].images[0]))
    wanted = sitk.DICOMOrient(original, "RAS")
    assert np.array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(wanted))
    for fact in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert np.allclose(getattr(found, fact)(), getattr(wanted, fact)(), atol=1e-4)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_every_volume_format_comes_back_as_itself(tmp_path: Path, ending: str) -> None:
    session = session_of(make_volumes(tmp_path / "Dataset007_Boxes", ending))
    session.save(0, shown(session, "prediction").tobytes(), "me")
    saved = session.journal.state("case_0").corrected
    assert saved is not None and saved.name == f"0001{ending}"
    found = read_segmentation(saved, session.review.reader)
    assert np.array_equal(found.array[0], label_array(1))


@pytest.mark.parametrize("ending", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize("colours", [1, 3])
def test_pictures_are_shown_as_they_are_and_come_back(tmp_path: Path, ending: str, colours: int) -> None:
    import imageio.v3

    root = tmp_path / "Dataset008_Pictures"
    random = np.random.default_rng(0)
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    picture = random.integers(0, 255, (9, 12, 3)[: 3 if colours == 3 else 2], dtype=np.uint8)
    label = np.zeros((9, 12), np.uint8)
    label[1:4, 2:9] = 1
    imageio.v3.imwrite(root / "imagesTr" / f"a_0000{ending}", picture)
    imageio.v3.imwrite(root / "labelsTr" / f"a{ending}", label)
    names = {str(index): name for index, name in enumerate("RGB"[:colours])}
    document = {
        "channel_names": names,
        "labels": {"background": 0, "a": 1},
        "file_ending": ending,
        "numTraining": 1,
    }
    (root / "dataset.json").write_text(json.dumps(document))
    session = session_of(root)
    details = session.details(0)
    assert details["shape"] == [12, 9, 1] and details["colours"] is (colours == 3) and not details["placed"]
    seen = shown(session, "drawing")[0, ::-1, ::-1]  # the page draws both axes backwards
    assert np.array_equal(seen, label)
    values = np.frombuffer(session.image(0, 0), np.uint8 if colours == 3 else "<i2", offset=HEADER)
    assert np.array_equal(values.reshape(picture.shape)[::-1, ::-1], picture)
    changed = shown(session, "drawing").copy()
    changed[0, 8, 11] = 1
    session.save(0, changed.tobytes(), "me")
    saved = session.journal.state("a").corrected
    assert saved is not None and saved.suffix == ending
    label[0, 0] = 1
    assert np.array_equal(imageio.v3.imread(saved).reshape(label.shape), label)


def test_all_that_happened_is_there_after_a_kill(tmp_path: Path) -> None:
    root = make_volumes(tmp_path / "Dataset007_Boxes")
    session = session_of(root)
    session.decide(1, "accept", "me")
    session.decide(2, "reject", "you", None)
    session.decide(2, "comment", "you", "blurred\nagain")
    drawing = shown(session, "drawing").copy()
    drawing[0, 0, 0] = 1
    session.save(0, drawing.tobytes(), "me")
    drawing[0, 0, 1] = 1
    session.save_draft(0, drawing.tobytes())
    # A kill in the middle of a line.
    path = session.journal.path
    path.write_bytes(path.read_bytes() + b'{"time": "2026-01-01", "reviewer": "me", "case": "case_3", "act')

    again = session_of(root)
    lines = [again.line(index) for index in range(4)]
    assert [each["decision"] for each in lines] == ["", "accepted", "rejected", ""]
    assert lines[2]["comment"] == "blurred\nagain" and lines[2]["reviewer"] == "you"
    assert lines[0]["corrected"] and lines[0]["draft"]
    assert np.array_equal(shown(again, "drawing"), drawing)
    again.decide(3, "accept", "me")
    assert session_of(root).line(3)["decision"] == "accepted"
    again.decide(0, "withdraw", "me")
    assert np.array_equal(shown(again, "drawing"), shown(again, "reference"))
    # A withdrawn file stays, and its number is not used again.
    again.save(0, drawing.tobytes(), "me")
    assert sorted(each.name for each in (tmp_path / "review" / "corrected" / "case_0").iterdir()) == [
        "0001.nii.gz",
        "0002.nii.gz",
    ]
    entries = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    assert [each["action"] for each in entries][-3:] == ["accept", "withdraw", "correct"]
    assert all(each["time"] and each["reviewer"] for each in entries)


def test_a_drawing_of_a_label_that_was_replaced_is_not_shown(tmp_path: Path) -> None:
    root = make_volumes(tmp_path / "Dataset007_Boxes")
    session = session_of(root)
    drawing = shown(session, "drawing").copy()
    drawing[0, 0, 0] = 1
    session.save_draft(0, drawing.tobytes())
    write_volume(root / "labelsTr" / "case_0.nii.gz", label_array(1))
    assert np.array_equal(shown(session_of(root), "drawing"), label_array(1)[:, ::-1, ::-1])


def test_a_log_from_elsewhere_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).write_text(
        "".join(
            json.dumps({"time": "t", "reviewer": "r", "case": "a", "action": "correct", "file": file}) + "\n"
            for file in ("../../etc/passwd", "/etc/passwd", "corrected/../x", "corrected/a/0001.nii.gz")
        )
    )
    journal = Journal(tmp_path)
    assert [entry["file"] for entry in journal.entries] == ["corrected/a/0001.nii.gz"]


@pytest.mark.parametrize(
    "line", ["[" * 5000, '{"a":' * 5000, "9" * 5000, '{"time": "t", "case": [1]}', "NaN"]
)
def test_a_line_of_a_log_that_is_no_entry_is_passed_over(tmp_path: Path, line: str) -> None:
    entry = {"time": "t", "reviewer": "r", "case": "a", "action": "accept"}
    odd = {**entry, "case": ["a"]}
    (tmp_path / LOG_NAME).write_text("\n".join([line, json.dumps(odd), json.dumps(entry)]))
    assert Journal(tmp_path).entries == [entry]


def test_what_cannot_be_drawn_on_says_why(tmp_path: Path) -> None:
    root = make_volumes(tmp_path / "Dataset007_Boxes")
    write_volume(root / "labelsTr" / "case_0.nii.gz", np.full(SHAPE, 7, np.uint8))
    write_volume(root / "labelsTr" / "case_1.nii.gz", np.zeros((2, 2, 2), np.uint8))
    session = session_of(root)
    assert "not declared as labels (7)" in session.details(0)["problem"]
    assert "2 x 2 x 2 voxels, its image 6 x 10 x 8" in session.details(1)["problem"]
    for index in (0, 1):
        with pytest.raises(DataError, match="cannot be drawn on"):
            session.save(index, bytes(np.prod(SHAPE)), "me")
    assert not session.journal.entries
