"""DICOM series come with their quality too, named by the series, whatever their results are written as."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_series import DATASET_JSON, Thresholds, write_series
from held_out_cases import DATASET, held_out, profiles

from autoseg.data.dataset import labels_from_json
from autoseg.data.dicom_objects.maker import Maker
from autoseg.data.dicom_objects.result import Form
from autoseg.inference.predict_dicom import predict_series
from autoseg.trust.assess import Assessor
from autoseg.trust.evidence import Evidence
from autoseg.trust.fit import fitted
from autoseg.trust.triage import write_triage_of_series

ALGORITHM = Maker.of(["stand-in"], "0.1.0", ["ab" * 32], {"mirroring": True})
LABELS = labels_from_json(DATASET_JSON)


class Sure(Thresholds):
    """Says that it is certain."""

    def segment_image(self, raw: Any, evidence: Evidence | None = None) -> np.ndarray:
        """Labels (z, y, x) of (1, z, y, x)."""
        found = super().segment_image(raw)
        if evidence is not None:
            evidence.add_probabilities(np.stack([found == value for value in range(3)]).astype(np.float32))
        return found


def assessor(output: Path) -> Assessor:
    quality = fitted(held_out(40), DATASET, profiles(40), {"dataset": "x"})
    organ, channels = quality.structures["organ"], tuple(DATASET_JSON["channel_names"].values())
    return Assessor(
        replace(quality, structures=dict.fromkeys(LABELS.structures, organ), channels=channels),
        LABELS,
        output,
    )


@pytest.mark.parametrize("to", ["nifti", "dicom-seg", "rtstruct"])
def test_quality_and_pictures_are_named_by_the_series(to: str, tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    pytest.importorskip("highdicom")
    series, output = write_series(tmp_path / "in", "axial"), tmp_path / "out"
    how: dict[str, Any] = {"form": Form(to), "algorithm": ALGORITHM, "maker": {"models": ["ab" * 32]}}
    found = assessor(output)
    (path,) = predict_series(Sure(), series.folder, output, assessor=found, **how).files
    page = write_triage_of_series(found, "stand-in")
    assert page is not None
    name = path.name.removesuffix(Form(to).ending)
    (case,) = json.loads((output / "quality.json").read_text())["cases"]
    assert case == name
    assert (output / "quality.csv").read_text().count(f"\n{name},") == len(LABELS.structures)
    assert name in page.read_text() and page.read_text().count("<img src=") == 3

    # A second call makes nothing anew, and the page stays as it is.
    again = assessor(output)
    assert predict_series(Sure(), series.folder, output, assessor=again, **how).retained == (path,)
    assert write_triage_of_series(again, "stand-in") is None and set(again.found) == {name}
