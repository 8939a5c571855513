"""``autoseg predict MODEL SERIES OUT --to``: the whole command, with a model of random weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest
from dicom_readers import complaints, near, seg_places
from dicom_series import write_series
from model_folders import ABOUT, model_folder

from autoseg.data.dicom import Drawing, draw, find_volumes
from autoseg.data.dicom.drawing import Part
from autoseg.data.dicom.regular import onto_source


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two labels in CT, the first one with a code."""
    about = {**ABOUT, "channel_names": {"0": "CT"}, "codes": {"head": "SCT 69536005 Head structure"}}
    return model_folder(tmp_path_factory.mktemp("model"), "resnet34_mlp", "2d", about)


def run(*words: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "autoseg", "predict", *map(str, words), "--device", "cpu"]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_series_of_a_study_become_objects(model: Path, tmp_path: Path) -> None:
    study, out = tmp_path / "study", tmp_path / "out"
    one = write_series(study / "ct", "oblique", down=True)
    write_series(study / "mr", number=2, modality="MR")
    done = run(model, study, out, "--to", "dicom-seg", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert not told["left_out"]
    assert [each["reason"] for each in told["passed_over"]] == ["is MR, and the model learnt from CT"]
    (path,) = map(Path, told["predictions"])
    assert complaints(path) == "" and any(map(len, seg_places(path).values()))
    segment = pydicom.dcmread(path).SegmentSequence[0]
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Head structure"
    done = run(model, study, out, "--to", "rtstruct")
    assert done.returncode == 0 and "passed over:" in done.stderr
    assert len(list(out.glob(f"{one.uids[0][0].rsplit('.', 1)[0]}.*.dcm"))) == 2


def test_both_objects_are_read_here_as_the_same_labels(model: Path, tmp_path: Path) -> None:
    series = write_series(tmp_path / "in", "sagittal", frames=True)
    for to in ("dicom-seg", "rtstruct"):
        assert run(model, series.folder, series.folder, "--to", to, "--quiet").returncode == 0
    found = find_volumes(path for path in (tmp_path / "in").iterdir() if path.suffix == ".dcm")
    (stack,) = found.stacks
    (seg,) = (tmp_path / "in").glob("*.seg.dcm")
    wanted = {name: near(places) for name, places in seg_places(seg).items()}
    assert len(found.segmentations) == 2
    for label in found.segmentations:
        values = tuple((each.number, n) for n, each in enumerate(label.structures, 1))
        array = onto_source(
            draw(Drawing(stack, (Part(label, values),))).array, stack.placing, *series.labels.shape[1:]
        )
        for n, each in enumerate(label.structures, 1):
            assert near(series.places(array == n)) == wanted[each.name]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "dicom"), "Choose one of nifti, dicom-seg, rtstruct"),
        (("--to", "dicom-seg", "--seg-type", "fractional"), "Choose one of binary, labelmap"),
    ],
)
def test_forms_that_are_none(words: tuple[str, ...], said: str, model: Path, tmp_path: Path) -> None:
    series = write_series(tmp_path / "in")
    done = run(model, series.folder, tmp_path / "out", *words)
    assert done.returncode == 2 and said in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()
