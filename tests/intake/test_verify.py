"""Verification: each thing that can be wrong is found, in one pass, with its file and a remedy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sound_data import (
    SHAPE,
    SharedData,
    declare,
    image,
    label,
    label_volume,
    only,
    truncate,
    volume,
    with_values,
    write,
)

from autoseg.data import readers as reading
from autoseg.data.dataset import load_dataset
from autoseg.errors import DataError, UsageError
from autoseg.intake.verification import case_checks
from autoseg.intake.verification.dataset_check import verify
from autoseg.intake.verification.findings import VerifyReport


def test_sound_data_have_no_findings(raw: Path) -> None:
    assert verify(raw) == verify(load_dataset(raw), workers=1) == VerifyReport(4, ())


@pytest.mark.parametrize(
    "name",
    [
        "Dataset004_Hippocampus",
        "Dataset018_FetalHead",
        "Dataset021_NucleiColor",
        "Dataset030_MSLesion",
        "Dataset040_CTOrgans",
    ],
)
def test_real_data_have_no_errors(name: str, shared_data: SharedData) -> None:
    report = verify(shared_data(name))
    assert report.errors == ()
    assert report.cases == len(load_dataset(shared_data(name)).cases)


Spoil = Callable[[Path], object]


Where = Callable[[Path], Path]


ELSEWHERE = {"origin": (0.0, 0.0, 0.0)}


def flair(root: Path) -> Path:
    return image(root, 1)


def sibling(where: Where, name: str) -> Where:
    return lambda root: where(root).with_name(name)


def volume_at(where: Where, array: np.ndarray, **grid: Any) -> Spoil:
    return lambda root: write(where(root), array, **grid)


whole = label_volume()


fractions = whole.astype(np.float32)


# What is done to case c1, and what has to be said about which file.
DEFECTS: dict[str, tuple[Spoil, str, str, Where]] = {
    "no first channel": (lambda r: image(r).unlink(), "error", "missing_channel", image),
    "no second channel": (lambda r: flair(r).unlink(), "error", "missing_channel", flair),
    "no label": (lambda r: label(r).unlink(), "error", "missing_label", label),
    "a third channel": (lambda r: write(image(r, 2), volume(99)), "error", "channel_count", image),
    "image truncated": (lambda r: truncate(image(r)), "error", "unreadable", image),
    "label truncated": (lambda r: truncate(label(r)), "error", "unreadable", label),
    "image empty": (lambda r: image(r).write_bytes(b""), "error", "unreadable", image),
    "image is text": (lambda r: image(r).write_text("hello"), "error", "unreadable", image),
    "channel shape": (volume_at(flair, volume(11)[1:]), "error", "shape_mismatch", flair),
    "channel spacing": (volume_at(flair, volume(11), spacing=(1, 1, 3)), "error", "spacing_mismatch", flair),
    "channel origin": (volume_at(flair, volume(11), **ELSEWHERE), "warning", "origin_mismatch", flair),
    "channel direction": (volume_at(flair, volume(11), turn=0.3), "warning", "direction_mismatch", flair),
    "label shape": (volume_at(label, whole[:, 1:]), "error", "shape_mismatch", label),
    "label spacing": (volume_at(label, whole, spacing=(1, 1, 1)), "error", "spacing_mismatch", label),
    "label origin": (volume_at(label, whole, **ELSEWHERE), "warning", "origin_mismatch", label),
    "label direction": (volume_at(label, whole, turn=0.3), "error", "label_direction_mismatch", label),
    "image NaN": (volume_at(image, with_values(volume(10), np.nan)), "error", "not_finite", image),
    "image infinite": (volume_at(image, with_values(volume(10), np.inf)), "error", "not_finite", image),
    "image too large": (volume_at(image, with_values(volume(10), 1e39)), "error", "not_finite", image),
    "image constant": (volume_at(image, np.full(SHAPE, 7, np.int16)), "warning", "constant_image", image),
    "label undeclared": (volume_at(label, with_values(whole, 3, 7)), "error", "label_undeclared", label),
    "label negative": (volume_at(label, whole.astype("i2") - 1), "error", "label_undeclared", label),
    "label fraction": (volume_at(label, with_values(fractions, 0.5)), "error", "label_not_integer", label),
    "label NaN": (volume_at(label, with_values(fractions, np.nan)), "error", "label_not_integer", label),
    "label empty": (volume_at(label, whole * 0), "warning", "label_empty", label),
    "image copied": (volume_at(image, volume(0)), "warning", "duplicate_image", image),
    "channel copied": (volume_at(flair, volume(10)), "warning", "duplicate_image", flair),
    "image misnamed": (
        volume_at(sibling(image, "c9_00.nii.gz"), volume(9)),
        "error",
        "unexpected_name",
        sibling(image, "c9_00.nii.gz"),
    ),
    "hidden image": (
        lambda r: sibling(image, "._c1_0000.nii.gz")(r).write_bytes(b"desk"),
        "warning",
        "hidden_file",
        sibling(image, "._c1_0000.nii.gz"),
    ),
    "label without image": (
        volume_at(sibling(label, "c8.nii.gz"), whole),
        "error",
        "missing_image",
        sibling(label, "c8.nii.gz"),
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_the_one_finding(defect: str, raw: Path) -> None:
    spoil, severity, code, file = DEFECTS[defect]
    spoil(raw)
    found = only(verify(raw))
    assert (found.severity, found.code, found.file) == (severity, code, str(file(raw)))
    if file(raw).name.startswith("c1"):
        assert found.case == "c1"
    assert found.message and found.remedy


@pytest.mark.parametrize("defect", DEFECTS)
def test_what_nnunet_refuses_is_an_error(defect: str, raw: Path) -> None:
    stock = pytest.importorskip("nnunetv2.experiment_planning.verify_dataset_integrity")
    readers = pytest.importorskip("nnunetv2.imageio.simpleitk_reader_writer")
    spoil, severity, _, _ = DEFECTS[defect]
    spoil(raw)
    case = load_dataset(raw).case("c1")
    images, target = [str(path) for path in case.images], str(case.label)
    try:
        accepted = stock.check_cases(images, target, 2, readers.SimpleITKIO)
        accepted &= stock.verify_labels(target, readers.SimpleITKIO, [0, 1, 2])
    except RuntimeError:
        accepted = False
    # ITK hides from nnU-Net what is missing or not finite in a NIfTI file, and it looks at no other file.
    unseen = {"image truncated", "label truncated", "image NaN", "image infinite", "image too large"}
    unseen |= {"label NaN", "label direction", "image misnamed", "label without image"}
    assert accepted == (severity == "warning" or defect in unseen)


def test_a_turned_label_is_an_error_unless_it_is_accepted(raw: Path) -> None:
    for case in ("c1", "c2"):
        write(raw / "labelsTr" / f"{case}.nii.gz", label_volume(ord(case[1])), turn=0.3)
    report = verify(raw)
    assert [finding.severity for finding in report.findings] == ["error", "error"]
    assert "--accept direction" in report.errors[0].remedy
    accepted = report.accepting(["direction"])
    assert not accepted.errors and len(accepted.warnings) == 2
    (line,) = accepted.spoiling
    assert line.startswith("label_direction_mismatch 2 times, the first in c1.nii.gz: Its direction differs")
    assert report.accepting([]) == report
    with pytest.raises(UsageError, match=r"'spacing' cannot be accepted\. What can: direction"):
        report.accepting(["spacing"])


@pytest.mark.parametrize(("turn", "severity"), [(0.3, "error"), (0.0, "warning")])
def test_of_an_affine_matrix_the_turn_is_the_error_not_the_origin(
    turn: float, severity: str, raw: Path
) -> None:
    declare(raw, overwrite_image_reader_writer="NibabelIO")
    write(label(raw), label_volume(), turn=turn, origin=(0.0, 0.0, 0.0))
    assert only(verify(raw)).severity == severity


def test_what_spoils_no_model_is_not_said_of_one(raw: Path) -> None:
    (raw / "imagesTr" / "._c1_0000.nii.gz").write_bytes(b"desk")
    assert len(verify(raw).warnings) == 1 and verify(raw).spoiling == ()
    write(raw / "imagesTr" / "c1_0000.nii.gz", np.full(SHAPE, 7, np.int16))
    (line,) = verify(raw).spoiling
    assert line.startswith("constant_image in c1_0000.nii.gz: ")


def test_a_stored_report_of_other_checks_is_made_anew(raw: Path) -> None:
    stored = verify(raw).to_json()
    assert VerifyReport.from_json(stored) == verify(raw)
    with pytest.raises(DataError, match="Verify again"):
        VerifyReport.from_json({**stored, "checks": stored["checks"] - 1})


def test_copies_that_are_in_one_group_already_need_none(raw: Path) -> None:
    write(image(raw), volume(0))
    (apart,) = [each for each in verify(raw).findings if each.code == "duplicate_image"]
    assert "give both cases one group" in apart.remedy
    (raw / "cases.csv").write_text("case,group\nc0,a\nc1,a\nc2,b\nc3,c\n")
    (together,) = [each for each in verify(raw).findings if each.code == "duplicate_image"]
    assert "They are in one group (a)" in together.remedy and "give both" not in together.remedy


def test_everything_is_found_in_one_pass(raw: Path) -> None:
    image(raw, 1).unlink()
    truncate(raw / "imagesTr" / "c2_0000.nii.gz")
    write(raw / "labelsTr" / "c2.nii.gz", with_values(label_volume(), 9), origin=(0, 0, 0))
    write(raw / "labelsTr" / "c3.nii.gz", np.zeros(SHAPE, np.uint8)[1:])
    declare(raw, numTraining=7)
    found = Counter((finding.case, finding.code) for finding in verify(raw).findings)
    assert found == Counter({
        (None, "num_training"): 1, ("c1", "missing_channel"): 1, ("c2", "unreadable"): 1,
        ("c2", "label_undeclared"): 1, ("c2", "origin_mismatch"): 1, ("c3", "shape_mismatch"): 1,
        ("c3", "label_empty"): 1,
    })  # fmt: skip
    severities = [finding.severity for finding in verify(raw).findings]
    assert severities == sorted(severities)


def test_each_file_is_read_once(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counted(path: Path, reader: str, segmentation: bool = False) -> reading.Image:
        read.append(path)
        return reading.read_file(path, reader, segmentation)

    monkeypatch.setattr(case_checks, "read_file", counted)
    verify(raw, workers=1)
    assert sorted(read) == sorted(raw.glob("*/*.nii.gz"))


def test_the_raw_folder_is_only_read(raw: Path) -> None:
    truncate(image(raw))
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in raw.rglob("*")}
    verify(raw)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in raw.rglob("*")} == before


def test_processes_change_nothing(raw: Path) -> None:
    truncate(image(raw))
    write(label(raw), with_values(label_volume(), 9))
    assert verify(raw, workers=1) == verify(raw, workers=3)
