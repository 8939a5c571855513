"""The quality model of a trained model, fitted on the cases that its folds held out."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from autoseg.data.dataset import Dataset
from autoseg.system.files import read_object
from autoseg.trust.conformal import groups_needed
from autoseg.trust.fold_facts import evidence_of
from autoseg.trust.held_out import EVALUATION, HeldOut, held_out_of
from autoseg.trust.measure import measured
from autoseg.trust.profiles import Profile
from autoseg.trust.quality_model import FILE_NAME, QualityModel, limit_of
from autoseg.trust.spread import spreads
from autoseg.trust.structure_model import fit_structure
from autoseg.trust.written import PLAIN, Written

log = logging.getLogger(__name__)


def fit_quality(
    model: Path,
    dataset: Dataset,
    profiles: Mapping[str, Profile],
    workers: int | None = None,
    written: Written = PLAIN,
) -> QualityModel | None:
    """Fit a model's quality on the held-out cases of its finished folds, and write it beside the model.

    Args:
        model: its folder.
        dataset: its data set.
        profiles: of all training cases.
        workers: processes for reading.
        written: how the model's segmentations come to be what is written; that is what is judged.

    Returns:
        None, and nothing is written, where no fold has evidence: of a run of an earlier version.
    """
    folds = sorted(path.parent for path in model.glob(f"fold_*/{EVALUATION}"))
    folds = [fold for fold in folds if evidence_of(fold, written.evidence)]
    held_out = [each for fold in folds for each in held_out_of(fold, dataset, profiles, workers, written)]
    if not held_out:
        return None
    about: dict[str, object] = {"model": model.name, "folds": [fold.name for fold in folds]}
    if written.key:
        about |= {"written": written.key, "written_in_words": list(written.words)}
    found = fitted(held_out, dataset, profiles, about)
    groups = len({each.group for each in held_out})
    if groups < groups_needed():
        _say_few(dataset.name, groups)
    path = model / FILE_NAME
    # A walk that is run again writes nothing anew, so that who watches the folder sees no change.
    if read_object(path) != json.loads(json.dumps(found.to_json())):
        found.save(path)
    return found


@cache
def _say_few(dataset: str, groups: int) -> None:
    """Every model of a walk has as few; the user reads it once."""
    log.info(
        "%s: expected quality is given without intervals, which need %d held-out groups; there are %d.",
        *(dataset, groups_needed(), groups),
    )


def fitted(
    held_out: Sequence[HeldOut],
    dataset: Dataset,
    profiles: Mapping[str, Profile],
    about: Mapping[str, object],
    measure: bool = True,
) -> QualityModel:
    """Fit on held-out cases.

    Args:
        held_out: at least one.
        dataset: labels and channels.
        profiles: of all training cases.
        about: stands in the document.
        measure: whether to say how well it works on the very cases, each left out.
    """
    names = list(dataset.labels.structures)
    structures = {
        name: fit_structure(
            [each.structures[name] for each in held_out],
            [(profile.shapes[name], profile.flat) for profile in profiles.values()],
        )
        for name in names
    }
    return QualityModel(
        structures=structures,
        inputs=spreads([profile.inputs for profile in profiles.values()]),
        input_limit=limit_of([each.input_distance for each in held_out]),
        shape_limit=limit_of([each.reference_distance for each in held_out]),
        channels=tuple(dataset.channels),
        unit=next(iter(profiles.values())).unit,
        cases=len(held_out),
        about={"dataset": dataset.name, **about},
        measured=measured(held_out, names) if measure else {},
    )
