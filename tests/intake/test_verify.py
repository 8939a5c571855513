"""Verification: each thing that can be wrong is found, in one pass, with its file and a remedy."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from autoseg.data import readers as reading
from autoseg.data.dataset import load_dataset
from autoseg.intake.verification import case_checks
from autoseg.intake.verification.dataset_check import check_case, check_one, read_case, verify
from autoseg.intake.verification.findings import Finding, VerifyReport
from autoseg.intake.verification.label_checks import count_labels

SharedData = Callable[[str], Path]
SHAPE = (6, 8, 10)


def write(
    path: Path,
    array: np.ndarray,
    spacing: tuple[float, ...] = (1.0, 1.0, 2.0),
    origin: tuple[float, ...] = (5.0, 6.0, 7.0),
    turn: float = 0.0,
) -> Path:
    """A volume (z, y, x) on a grid that can be spoilt."""
    itk = sitk.GetImageFromArray(array)
    itk.SetSpacing(spacing)
    itk.SetOrigin(origin)
    itk.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0, 0, turn).GetMatrix())
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(itk, str(path), True)
    return path


def volume(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 20, SHAPE).astype(np.float32)


def label_volume(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, SHAPE).astype(np.uint8)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Four sound cases with two channels and two labels."""
    root = tmp_path / "Dataset042_Sound"
    for case in range(4):
        for channel in range(2):
            write(root / "imagesTr" / f"c{case}_{channel:04d}.nii.gz", volume(10 * case + channel))
        write(root / "labelsTr" / f"c{case}.nii.gz", label_volume(case))
    declare(root)
    return root


def declare(root: Path, **changes: Any) -> None:
    content = {
        "channel_names": {"0": "T1", "1": "FLAIR"},
        "labels": {"background": 0, "core": 1, "rim": 2},
        "numTraining": 4,
        "file_ending": ".nii.gz",
        **changes,
    }
    root.mkdir(exist_ok=True)
    (root / "dataset.json").write_text(json.dumps(content))


def image(root: Path, channel: int = 0) -> Path:
    return root / "imagesTr" / f"c1_{channel:04d}.nii.gz"


def label(root: Path) -> Path:
    return root / "labelsTr" / "c1.nii.gz"


def only(report: VerifyReport) -> Finding:
    assert len(report.findings) == 1, [str(finding) for finding in report.findings]
    return report.findings[0]


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


def with_values(array: np.ndarray, *values: float) -> np.ndarray:
    array = array.astype(np.float64) if max(values) > 1e38 else array.copy()
    array.flat[: len(values)] = values
    return array


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-60])


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
    unseen |= {"label NaN", "image misnamed", "label without image"}
    assert accepted == (severity == "warning" or defect in unseen)


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


# The data set as a whole.


@pytest.mark.parametrize(
    ("changes", "code", "what"),
    [
        ({"numTraining": 5}, "num_training", "is 5, but there are 4"),
        ({"numTraining": None}, "num_training", "is None"),
        ({"labels": {"background": 0, "core": 1, "rim": 2, "cyst": 3}}, "label_never_present", "'cyst'"),
        ({"overwrite_image_reader_writer": "MyReader"}, "unknown_reader", "'MyReader'"),
    ],
)
def test_what_dataset_json_says_is_compared(changes: dict[str, Any], code: str, what: str, raw: Path) -> None:
    declare(raw, **changes)
    found = only(verify(raw))
    assert (found.code, found.case, found.file) == (code, None, str(raw / "dataset.json"))
    assert what in found.message


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"labels": {}}', "null", '{"labels": {"a": "b"}, "x": NaN}']
)
def test_a_broken_dataset_json_is_a_finding(text: str, raw: Path) -> None:
    (raw / "dataset.json").write_text(text)
    report = verify(raw)
    assert report.cases == 0
    assert report.errors and {finding.code for finding in report.findings} == {"dataset_json"}
    assert all(finding.file == str(raw / "dataset.json") for finding in report.findings)


def test_every_problem_of_dataset_json_is_a_finding(raw: Path) -> None:
    declare(raw, labels={"background": 0, "a": 2}, channel_names={}, file_ending="nii.gz")
    assert len(verify(raw).errors) == 3


def test_no_folder_and_no_cases_are_findings(tmp_path: Path) -> None:
    assert only(verify(tmp_path / "nowhere")).severity == "error"
    declare(tmp_path / "empty", numTraining=0)
    assert "no cases" in only(verify(tmp_path / "empty")).message
    declare(tmp_path / "empty", file_ending=".jpg")
    assert ".jpg" in only(verify(tmp_path / "empty")).message


def test_wrong_groups_are_a_finding_beside_the_others(raw: Path, tmp_path: Path) -> None:
    (raw / "groups.csv").write_text("case,group\nc0,1\n")
    truncate(image(raw))
    assert [finding.code for finding in verify(raw).findings] == ["groups", "unreadable"]
    (tmp_path / "right.csv").write_text("case,group\nc0,1\nc1,1\nc2,1\nc3,1\n")
    assert [finding.code for finding in verify(raw, groups=tmp_path / "right.csv").findings] == ["unreadable"]


def test_missing_folders_are_findings(raw: Path) -> None:
    shutil.rmtree(raw / "labelsTr")
    assert Counter(finding.code for finding in verify(raw).findings) == {"missing_label": 4}


def test_listed_files_are_checked_where_they_are(raw: Path) -> None:
    listed = {
        "one": {
            "images": ["imagesTr/c0_0000.nii.gz", "imagesTr/c0_0001.nii.gz"],
            "label": "labelsTr/c0.nii.gz",
        },
        "two": {"images": ["imagesTr/c1_0000.nii.gz"], "label": "elsewhere/c1.nii.gz"},
        "three": {"images": ["imagesTr/c2_0000.nii.gz", "gone.nii.gz"], "label": "labelsTr/c2.nii.gz"},
    }
    declare(raw, dataset=listed, numTraining=3)
    found = {(finding.case, finding.code) for finding in verify(raw).findings}
    assert found == {("two", "channel_count"), ("two", "missing_label"), ("three", "missing_image")}


def test_regions_and_the_ignore_label(raw: Path) -> None:
    labels = {"background": 0, "whole": [1, 2], "core": 1, "cyst": [3], "ignore": 4}
    declare(raw, labels=labels, regions_class_order=[2, 1, 3])
    write(label(raw), np.where(label_volume() == 2, 4, label_volume()).astype(np.uint8))
    assert "'cyst'" in only(verify(raw)).message
    write(label(raw), np.where(label_volume() > 0, 4, 0).astype(np.uint8))
    assert [finding.code for finding in verify(raw).findings] == ["label_empty", "label_never_present"]


# Other formats.


def colour_data(root: Path) -> Path:
    from PIL import Image

    rng = np.random.default_rng(0)
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    for case in range(3):
        colours = Image.fromarray(rng.integers(0, 256, (9, 11, 3), dtype=np.uint8))
        colours.save(root / "imagesTr" / f"c{case}_0000.png")
        Image.fromarray(rng.integers(0, 3, (9, 11), dtype=np.uint8)).save(root / "labelsTr" / f"c{case}.png")
    declare(root, channel_names={"0": "R", "1": "G", "2": "B"}, file_ending=".png", numTraining=3)
    return root


def test_pictures_in_colour(tmp_path: Path) -> None:
    from PIL import Image

    root = colour_data(tmp_path / "raw")
    assert verify(root).findings == ()
    with Image.open(root / "imagesTr/c0_0000.png") as picture:
        picture.convert("L").save(root / "imagesTr/c0_0000.png")
    with Image.open(root / "imagesTr/c1_0000.png") as picture:
        picture.save(root / "labelsTr/c1.png")
    black_and_white = np.zeros((9, 11), np.uint8)
    black_and_white[3:5] = 255
    Image.fromarray(black_and_white).save(root / "labelsTr/c2.png")
    report = verify(root)
    found = [(finding.case, finding.code) for finding in report.findings]
    assert found == [("c0", "channel_count"), ("c1", "label_channels"), ("c2", "label_undeclared")]
    assert "write 1 instead of 255" in report.findings[-1].remedy
    truncate(root / "imagesTr/c0_0000.png")
    assert ("c0", "unreadable") in {(f.case, f.code) for f in verify(root).findings}


def test_real_channels_on_different_grids(tmp_path: Path, shared_data: SharedData) -> None:
    source, root = shared_data("intake_quirks/channels_on_different_grids"), tmp_path / "Dataset050_Stroke"
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    for name, target in (("adc", "imagesTr/s9_0000"), ("flair", "imagesTr/s9_0001"), ("msk", "labelsTr/s9")):
        (root / f"{target}.nii.gz").symlink_to(next(source.glob(f"*_{name}.nii.gz")))
    declare(
        root, channel_names={"0": "ADC", "1": "FLAIR"}, labels={"background": 0, "lesion": 1}, numTraining=1
    )
    # Rounding in the label's direction is no finding; nor is its data type, uint16.
    found = only(verify(root))
    assert (found.severity, found.code, found.case) == ("error", "shape_mismatch", "s9")
    assert found.file == str(root / "imagesTr" / "s9_0001.nii.gz")
    assert "29 x 512 x 512 voxels of 5 x 0.449219 x 0.449219 mm" in found.message
    assert "s9_0000.nii.gz has 73 x 112 x 112 voxels of 2 x 2 x 2 mm" in found.message
    assert "Resample" in found.remedy


# The parts.


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
    assert set(document) == {"cases", "findings"}
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


def test_130_real_cases_take_little_time(shared_data: SharedData) -> None:
    """0.4 s on one quiet core; the limit leaves room for a busy machine, not for another way of reading."""
    dataset = load_dataset(shared_data("Dataset004_Hippocampus"))
    start = time.process_time()
    for case in dataset.cases:
        check_one(dataset, case)
    assert time.process_time() - start < 1.5
