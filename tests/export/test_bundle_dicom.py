"""DICOM series through a bundle, where there is no torch: the same objects as the model's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pydicom
import pytest
from dicom_readers import complaints, near, seg_places
from dicom_series import write_series
from model_folders import REGIONS, model_folder

from autoseg.bundle.archive import BundleError
from autoseg.bundle.description import Description
from autoseg.data.dicom_objects.result import Form
from autoseg.errors import UsageError
from autoseg.export import export_bundle
from autoseg.pipeline.single_stages import predict_folder
from autoseg.system.files import read_json

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

BLOCKED = """
import sys, runpy
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "nnunetv2", "pydantic", "nibabel"}:
            raise ImportError(f"{name} is not installed here")
sys.meta_path.insert(0, Blocked())
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model of regions in CT, one of them with a code, and its bundle."""
    home = tmp_path_factory.mktemp("exported")
    name = next(name for name in REGIONS["labels"] if name != "background")
    about = {**REGIONS, "channel_names": {"0": "CT"}, "codes": {name: "SCT 10200004 Liver"}}
    model = model_folder(home, "resnet34_mlp", "2d", about)
    return model, export_bundle(model, home / "bundle")


def alone(bundle: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", BLOCKED, bundle / "run.py", *arguments]
    return subprocess.run(list(map(str, line)), capture_output=True, text=True, check=False)


def test_a_bundle_segments_a_series_by_itself(tmp_path: Path, exported: tuple[Path, Path]) -> None:
    model, bundle = exported
    series = write_series(tmp_path / "in", "oblique", down=True)
    done = alone(bundle, series.folder, tmp_path / "alone", "--to", "dicom-seg")
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "alone").glob("*.seg.dcm")
    assert complaints(path) == ""
    places = seg_places(path)
    assert any(len(each) for each in places.values())
    form, options = Form("dicom-seg"), {"device": "cpu"}
    for maker in (model, bundle):
        (other,) = predict_folder(maker, series.folder, tmp_path / maker.name, form=form, **options).files
        for name, found in seg_places(other).items():
            one, two = near(found), near(places[name])
            assert len(one ^ two) <= 0.01 * max(len(one), 1)
        said = pydicom.dcmread(other).SegmentSequence[0]
        assert said.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Liver"
    by = pydicom.dcmread(path).SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    again = pydicom.dcmread(other).SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert by.AlgorithmVersion == again.AlgorithmVersion and by.AlgorithmName == again.AlgorithmName


def test_the_other_forms_and_what_is_refused(tmp_path: Path, exported: tuple[Path, Path]) -> None:
    model, bundle = exported
    series = write_series(tmp_path / "in", frames=True)
    for to, ending in (("nifti", ".nii.gz"), ("rtstruct", ".rtstruct.dcm")):
        done = alone(bundle, series.folder, tmp_path / "out", "--to", to)
        assert done.returncode == 0, done.stderr
        assert len(list((tmp_path / "out").glob(f"*{ending}"))) == 1
    overlapping = alone(
        bundle, series.folder, tmp_path / "map", "--to", "dicom-seg", "--seg-type", "labelmap"
    )
    assert overlapping.returncode == 2 and "overlap" in overlapping.stderr
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a_0000.nii.gz").touch()
    with pytest.raises(UsageError, match="no DICOM series"):
        predict_folder(model, tmp_path / "plain", tmp_path / "o", device="cpu", form=Form("rtstruct"))
    assert alone(bundle, tmp_path / "plain", tmp_path / "o", "--to", "rtstruct").returncode == 2


def test_codes_that_are_none_spoil_a_bundle(exported: tuple[Path, Path]) -> None:
    document = read_json(exported[1] / "model.json")
    assert Description.from_json(document).to_json() == document
    without = {name: value for name, value in document.items() if name != "codes"}
    assert Description.from_json(without).codes == {}
    with pytest.raises(BundleError, match="codes"):
        Description.from_json({**document, "codes": {"nothing": "SCT 1 A"}})
