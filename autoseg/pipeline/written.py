"""How the segmentations of a model come to be what is written: its decoding, then its postprocessing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.decoding.rules import Decoding
from autoseg.postprocessing.apply import postprocess
from autoseg.postprocessing.rules import Postprocessing
from autoseg.system.files import digest
from autoseg.trust.written import PLAIN, Written

# Of a fold's folder: held-out cases as a model decides them that does not take the likeliest label.
DECODED, DECODED_EVIDENCE = "validation_decoded", "evidence_decoded.json"


def predictions_of(model: Path) -> str:
    """The folder of a fold that has the held-out cases as the model decides them, without postprocessing."""
    return DECODED if Decoding.of_model(model).changes_segmentations else PLAIN.predictions


def written_by(model: Path) -> Written:
    """How the segmentations of a model folder come to be what `predict` writes."""
    return written_with(Postprocessing.of_model(model), Decoding.of_model(model))


def written_with(rules: Postprocessing, decoding: Decoding) -> Written:
    """The same of rules and a decoding."""
    if not rules.rules and not decoding.changes_segmentations:
        return PLAIN
    decoded = decoding.changes_segmentations
    how = decoding.without_evidence().to_json() if decoded else decoding.decide
    return Written(
        change=partial(_changed, rules.without_evidence()) if rules.rules else None,
        predictions=DECODED if decoded else PLAIN.predictions,
        evidence=DECODED_EVIDENCE if decoded else PLAIN.evidence,
        key=digest([rules.without_evidence().to_json(), how]),
        words=(*((f"decided {decoding.way}",) if decoded else ()), *rules.words),
    )


def _changed(
    rules: Postprocessing, segmentation: NDArray[Any], spacing: Sequence[float]
) -> np.ndarray[Any, Any]:
    return postprocess(segmentation, rules, spacing)
