"""Names of structures in DICOM objects: all letters, all different, whatever the source's character set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest
from dicom_readers import complaints
from dicom_series import DATASET_JSON, write_series

from autoseg.data.codes import codes_of
from autoseg.data.dataset_json import labels_from_json
from autoseg.data.dicom import find_volumes
from autoseg.data.dicom_objects.maker import Maker
from autoseg.data.dicom_objects.segmentation import write_segmentation_object
from autoseg.data.dicom_objects.source import Source
from autoseg.data.dicom_objects.structure_set import write_structure_set
from autoseg.data.dicom_objects.structures import structures_of
from autoseg.data.dicom_objects.texts import short_names

MAKER = Maker("Dataset900_Test nnunet", "0.1.0", "ab" * 32)
WRITERS = {"SEG": write_segmentation_object, "RTSTRUCT": write_structure_set}
JAPANESE = ["", "ISO 2022 IR 87"]


def written(folder: Path, form: str, names: tuple[str, str], characters: Any, patient: str) -> Any:
    """An object with two structures, of a series in a character set."""
    series = write_series(folder / "in", "axial")
    for path in series.folder.iterdir():
        found = pydicom.dcmread(path)
        if characters is not None:
            found.SpecificCharacterSet = characters
        found.PatientName = patient
        found.save_as(path)
    (stack,) = find_volumes(series.folder.iterdir()).stacks
    labels = {**DATASET_JSON, "labels": {"background": 0, names[0]: 1, names[1]: 2}}
    structures = structures_of(labels_from_json(labels), codes_of(labels))
    WRITERS[form](series.labels, folder / "out.dcm", Source(stack.frames), structures, MAKER)
    return pydicom.dcmread(folder / "out.dcm")


def labels_in(found: Any) -> list[str]:
    if found.Modality == "SEG":
        return [each.SegmentLabel for each in found.SegmentSequence]
    return [each.ROIName for each in found.StructureSetROISequence]


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize(
    ("characters", "patient", "names", "expected"),
    [
        (None, "Doe^J", ("liver", "tumour"), None),
        (None, "Doe^J", ("Großhirn", "Läsion"), "ISO_IR 192"),
        ("ISO_IR 100", "Müller^J", ("Großhirn", "Läsion"), "ISO_IR 100"),
        ("ISO_IR 100", "Müller^J", ("β-Zelle", "肝臓"), "ISO_IR 192"),
        ("ISO_IR 192", "王^J", ("β-Zelle", "肝臓"), "ISO_IR 192"),
        (JAPANESE, "Yamada^T=山田^太郎", ("liver", "tumour"), JAPANESE),
        (JAPANESE, "Yamada^T=山田^太郎", ("肝臓", "Läsion"), "ISO_IR 192"),
    ],
)
def test_names_and_patient_keep_their_letters(
    tmp_path: Path, form: str, characters: Any, patient: str, names: tuple[str, str], expected: Any
) -> None:
    found = written(tmp_path, form, names, characters, patient)
    assert labels_in(found) == list(names)
    assert str(found.PatientName) == patient
    assert found.get("SpecificCharacterSet") == expected


@pytest.mark.parametrize("form", WRITERS)
def test_long_names_stay_apart_and_are_there_in_full(tmp_path: Path, form: str) -> None:
    names = tuple(
        f"left hippocampus with the uncus and the subiculum and more than that, {end}"
        for end in ("head", "tail")
    )
    found = written(tmp_path, form, names, None, "Doe^J")
    assert labels_in(found) == [
        f"left hippocampus with the uncus and the...more than that, {end}" for end in ("head", "tail")
    ]
    sequence = found.SegmentSequence if form == "SEG" else found.StructureSetROISequence
    described = [each.get("SegmentDescription", each.get("ROIDescription")) for each in sequence]
    assert described == list(names)
    assert complaints(tmp_path / "out.dcm") == ""


def test_a_name_is_one_value_and_no_two_are_equal() -> None:
    assert short_names(["GTV\\PTV", "GTV/PTV", "a"]) == ["GTV/PTV (1)", "GTV/PTV (2)", "a"]
    same = "x" * 50
    found = short_names([same + "1" + same, same + "2" + same, same])
    assert len(set(found)) == 3 and max(map(len, found)) == 64 and found[2] == same
