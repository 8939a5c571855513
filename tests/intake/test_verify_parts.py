"""Verification: one case, counted labels, reports on disk, and readers that end their process."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from sound_data import (
    SHAPE,
    image,
    label_volume,
    only,
    truncate,
    with_values,
    write,
)

from autoseg.data import readers as reading
from autoseg.data.dataset import load_dataset
from autoseg.intake.verification import case_checks
from autoseg.intake.verification.dataset_check import check_case, read_case, verify
from autoseg.intake.verification.findings import VerifyReport
from autoseg.intake.verification.label_checks import count_labels


def test_a_case_that_was_read_elsewhere_can_be_checked(raw: Path) -> None:
    dataset = load_dataset(raw)
    images, segmentation, findings = read_case(dataset, dataset.cases[0])
    assert findings == []
    check = check_case(dataset, dataset.cases[0], images, segmentation)
    assert (check.findings, check.labels) == ((), {0, 1, 2})
    stacked = reading.stack(list(images.values()), list(images))
    np.testing.assert_array_equal(
        stacked.array, reading.read_images(dataset.cases[0].images, "SimpleITKIO").array
    )


@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "i4", "i8", "f4", "f8"])
@pytest.mark.parametrize("values", [(0, 1, 2), (0, 255), (5,), (0, 100_000), (-3, 0, 7)])
def test_labels_are_counted(kind: str, values: tuple[int, ...]) -> None:
    if not np.can_cast(np.min_scalar_type(max(values)), kind) or (min(values) < 0 and kind[0] == "u"):
        values = (0, 3)
    array = np.random.default_rng(0).choice(values, (2, 5, 6, 7)).astype(kind)
    assert count_labels(array) == dict(Counter(int(value) for value in sorted(array.ravel())))


@pytest.mark.parametrize("wrong", [0.5, np.nan, np.inf, 1e300])
def test_what_is_no_integer_is_not_counted(wrong: float) -> None:
    assert count_labels(np.array([0.0, 1.0, wrong])) is None


def test_a_report_comes_back_from_json(raw: Path) -> None:
    truncate(image(raw))
    report = verify(raw)
    document = json.loads(json.dumps(report.to_json()))
    assert set(document) == {"checks", "cases", "findings"}
    assert set(document["findings"][0]) == {"case", "file", "severity", "code", "message", "remedy"}
    assert VerifyReport.from_json(document) == report
    assert str(report.errors[0]).startswith(f"error: {image(raw)}: The image file is truncated")
    assert report.warnings == ()


def ends_at_c1(path: Path, reader: str, segmentation: bool = False) -> reading.Image:
    if path == path.parent / "c1_0000.nii.gz":
        os._exit(1)
    return reading.read_file(path, reader, segmentation)


def test_a_file_that_ends_its_process_is_named(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case_checks, "read_file", ends_at_c1)
    write(raw / "labelsTr" / "c3.nii.gz", with_values(label_volume(3), 9))
    found = {(finding.case, finding.code) for finding in verify(raw, workers=2).findings}
    assert found == {("c1", "died"), ("c3", "label_undeclared")}


def test_a_truncated_file_is_not_taken_for_zeros(raw: Path) -> None:
    """ITK alone would read it without a word: this is why autoseg unpacks NIfTI itself."""
    packed = image(raw)
    content = gzip.decompress(packed.read_bytes())
    packed.write_bytes(gzip.compress(content[: len(content) // 2]))
    silent = sitk.GetArrayFromImage(sitk.ReadImage(str(packed)))
    assert silent.shape == SHAPE and silent[-1].max() == 0
    assert "truncated" in only(verify(raw)).message


def test_verification_imports_nothing_heavy(raw: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from autoseg.intake import verify\n"
        f"assert verify(Path({str(raw)!r})).findings == ()\n"
        "print([m for m in ('torch', 'skimage', 'scipy', 'nnunetv2', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
