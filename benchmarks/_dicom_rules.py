"""What viewers ask of a DICOM-SEG, as their projects state it, checked on a file with pydicom alone.

3D Slicer opens SEG with dcmqi (QuantitativeReporting's README), whose converter is run as it is. OHIF's
handler of SEG wants what is named here: a reference to the series at the top and to the image in every frame
(its issues 3936 and 4271), and frames in the planes of the images, to a tolerance of 0.001 (its issues 2500
and 2964).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom

TOLERANCE = 1e-3


def ohif_rules(path: Path, images: Path) -> dict[str, bool]:
    """Each rule, and whether a SEG keeps it.

    Args:
        path: the SEG.
        images: the folder of its source.
    """
    found = pydicom.dcmread(path, stop_before_pixels=True)
    heads = [pydicom.dcmread(each, stop_before_pixels=True) for each in sorted(images.iterdir())]
    uids = {str(head.get("SOPInstanceUID") or head.file_meta.MediaStorageSOPInstanceUID) for head in heads}
    frames = list(found.PerFrameFunctionalGroupsSequence)
    shared = found.SharedFunctionalGroupsSequence[0]
    named = [_named(frame) for frame in frames]
    listed = {
        str(each.ReferencedSOPInstanceUID)
        for series in found.get("ReferencedSeriesSequence", ())
        for each in series.ReferencedInstanceSequence
    }
    # A label map may describe its background, which has the number 0.
    numbers = [int(each.SegmentNumber) for each in found.SegmentSequence if each.SegmentNumber]
    own = _cosines(heads[0].get("SharedFunctionalGroupsSequence", [heads[0]])[0])
    planes = [_cosines(frame if "PlaneOrientationSequence" in frame else shared) for frame in frames]
    return {
        "class and kind": (str(found.SOPClassUID)[-4:], found.SegmentationType)
        in (("66.4", "BINARY"), ("66.7", "LABELMAP")),
        "references to the series' images": bool(listed) and listed <= uids,
        "a reference in every frame": all(len(each) == 1 and each <= uids for each in named),
        "frames in the planes of the images": all(np.abs(each - own).max() <= TOLERANCE for each in planes),
        "size of the images": (found.Rows, found.Columns) == (heads[0].Rows, heads[0].Columns),
        "segments numbered from 1, with labels": numbers == list(range(1, len(numbers) + 1))
        and all(each.SegmentLabel for each in found.SegmentSequence),
        "uncompressed": not found.file_meta.TransferSyntaxUID.is_compressed,
        "the frame of reference": str(found.FrameOfReferenceUID) == str(heads[0].FrameOfReferenceUID),
    }


def _named(frame: Any) -> set[str]:
    return {
        str(image.ReferencedSOPInstanceUID)
        for derived in frame.get("DerivationImageSequence", ())
        for image in derived.SourceImageSequence
    }


def _cosines(found: Any) -> np.ndarray:
    group = found.get("PlaneOrientationSequence", [found])[0]
    return np.array(group.ImageOrientationPatient, float)
