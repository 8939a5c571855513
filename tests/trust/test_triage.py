"""triage.html: the worst first, offline, with a picture of each plane."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from held_out_cases import DATASET, LABELS, held_out, profiles

from autoseg.data.dataset import Case
from autoseg.data.image import Image
from autoseg.data.readers import read_images
from autoseg.trust.assess import Assessor
from autoseg.trust.case_page import Listed, Page, write_case_page
from autoseg.trust.fit import fitted
from autoseg.trust.pictures import planes_of
from autoseg.trust.triage import write_triage

SHAPE = (12, 14, 16)


def ball(middle: float = 7.0) -> np.ndarray:
    grid = np.indices(SHAPE) - middle
    return ((grid**2).sum(0) < 20).astype(np.uint8)


def predicted(folder: Path) -> tuple[Assessor, list[Case], dict[str, Path]]:
    """Two cases: one sure, one that is not."""
    assessor = Assessor(fitted(held_out(40), DATASET, profiles(40), {}), LABELS, folder)
    cases, files = [], {}
    for name, sure in (("sure", 9.0), ("<b>unsure", 0.2)):
        image = sitk.GetImageFromArray(np.random.default_rng(0).normal(400, 9, SHAPE).astype(np.float32))
        path, file = folder / f"{len(cases)}_0000.nii.gz", folder / f"{len(cases)}.nii.gz"
        sitk.WriteImage(image, str(path))
        sitk.WriteImage(sitk.GetImageFromArray(ball()), str(file))
        cases.append(Case(name, (path,), None))
        files[name] = file
        evidence = assessor.evidence()
        evidence.add_logits(np.where(ball(), sure, -sure)[None] * np.array([-0.5, 0.5])[:, None, None, None])
        assessor.add(name, read_images([path], "SimpleITKIO"), ball(), evidence)
    return assessor, cases, files


def test_the_worst_comes_first_with_three_planes_each_and_nothing_from_outside(tmp_path: Path) -> None:
    assessor, cases, files = predicted(tmp_path)
    page = write_triage(assessor, cases, files, "SimpleITKIO", "a model")
    assert page is not None
    text = page.read_text()
    assert text.index("&lt;b&gt;unsure") < text.index(">sure<")
    assert "<b>unsure" not in text
    assert text.count("<img src=") == 6
    assert "slice 7 of 12 along z" in text
    assert "http:" not in text and "https:" not in text and "<script" not in text


def test_the_heading_says_trainer_and_configuration_and_the_end_the_folder(tmp_path: Path) -> None:
    assessor, cases, files = predicted(tmp_path)
    page = write_triage(assessor, cases, files, "SimpleITKIO", "nnunet__autosegPlans_1cb49c4c__2d")
    assert page is not None
    assert "<h1>Predictions of nnunet (2d)</h1>" in page.read_text()
    assert "folder nnunet__autosegPlans_1cb49c4c__2d." in page.read_text()


def test_a_file_that_is_gone_costs_its_pictures_only(tmp_path: Path) -> None:
    assessor, cases, files = predicted(tmp_path)
    files["sure"].unlink()
    page = write_triage(assessor, cases, files, "SimpleITKIO", "a model")
    assert page is not None
    assert page.read_text().count("<img src=") == 3


def test_without_a_case_there_is_no_page(tmp_path: Path) -> None:
    empty = Assessor(fitted(held_out(20), DATASET, profiles(20), {}), LABELS, tmp_path)
    assert write_triage(empty, [], {}, "SimpleITKIO", "a model") is None


def test_a_reference_moves_the_cut_to_where_both_part() -> None:
    image = Image(np.zeros((1, *SHAPE), np.float32), (1.0, 1.0, 1.0), {})
    reference = ball()
    reference[2, 2:4, 2:4] = 1
    prediction = ball()
    (z, *_), (alone, *_) = (planes_of(image, prediction, {"a": (1,)}, each) for each in (reference, None))
    assert (z.words, alone.words) == ("slice 3 of 12 along z", "slice 7 of 12 along z")


@pytest.mark.parametrize("shape", [(1, 20, 30), (9, 9, 9)])
def test_pictures_have_one_plane_and_volumes_three(shape: tuple[int, ...]) -> None:
    image = Image(np.random.default_rng(0).normal(size=(1, *shape)), (1.0, 1.0, 1.0), {})
    planes = planes_of(image, np.zeros(shape, np.uint8), {"a": (1,)})
    assert len(planes) == (1 if shape[0] == 1 else 3)


def test_of_many_cases_the_first_have_pictures_and_all_are_listed(tmp_path: Path) -> None:
    cases = [Listed(f"case_{index:03d}", "", False, (), ("1",)) for index in range(40)]
    page = Page("kind", "Title", "Verdict.", ("Number",), "Legend.", ())
    drawn: list[str] = []
    write_case_page(tmp_path / "p.html", page, cases, {"a": (1,)}, lambda case: drawn.append(case) or ())
    assert drawn == [f"case_{index:03d}" for index in range(24)]
    assert "case_039" in (tmp_path / "p.html").read_text()
