"""`--fast` of a trained model: its rule, measured once on held-out cases, and what it saved."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoseg import nnunet
from autoseg.data.dataset import Dataset
from autoseg.data.readers import read_segmentation
from autoseg.errors import AutosegError
from autoseg.system import progress
from autoseg.system.device import find_device
from autoseg.system.files import digest
from autoseg.trust.written import PREDICTIONS, dices
from autoseg.workspace import Workspace

if TYPE_CHECKING:
    from autoseg.inference.ensemble import Ensemble
    from autoseg.inference.fast_rule import FastRule
    from autoseg.inference.options import Options
    from autoseg.inference.predict import Predicted

log = logging.getLogger(__name__)

# Held-out cases that are predicted for it, spread over all folds; fewer than the first decide nothing.
FEWEST, MOST = 5, 20


@dataclass(frozen=True)
class HeldOut:
    """A held-out case: its name, the networks of its fold, and the files of its reference and prediction."""

    name: str
    ensemble: Ensemble
    reference: Path
    prediction: Path


def fast_rule(model: Path, hashes: Sequence[str], device: str) -> FastRule:
    """The rule of a model: the one that is beside it, or one that is measured now and put there.

    Args:
        model: its folder.
        hashes: of all that its predictions depend on; a rule of other weights is measured again.
        device: where to predict.
    """
    from autoseg.inference.fast_rule import RULES, FastRule

    known = FastRule.of_model(model)
    own = digest(list(hashes))
    if known.evidence.get("model") == own:
        return known
    try:
        found = measured(model, device)
    except AutosegError as problem:  # a folder that left its workspace, or a model of stock nnU-Net
        log.debug("No held-out cases of %s: %s", model, problem)
        return RULES[-1]
    if found.evidence:
        found = replace(found, evidence={**found.evidence, "model": own})
        found.save(model)
    return found


def measured(model: Path, device: str) -> FastRule:
    """The cheapest rule that loses at most `MOST_LOST` Dice on held-out cases, a standard error included.

    The mirrored predictions of the folds are compared with fast ones of the same networks.

    Raises:
        AutosegError: if the model's data set, its folds or its held-out predictions are not there.
    """
    from autoseg.inference.fast_rule import MOST_LOST, RULES
    from autoseg.pipeline.quality import held_out_folds

    workspace = Workspace.locate(model.resolve().parents[2])
    dataset, folds = held_out_folds(model, workspace)
    nnunet.activate(workspace)
    names = [(fold.index, case) for fold in folds for case in fold.validation]
    chosen = [names[place] for place in spread(len(names), MOST)]
    log.info("What --fast changes is measured once, on %d held-out cases.", len(chosen))
    cases = list(_cases(model, dataset, device, chosen))
    if len(cases) < FEWEST:
        return RULES[-1]
    tried: list[dict[str, Any]] = []
    for rule in RULES:
        tried.append(_tried(rule, cases, dataset, workspace))
        if tried[-1]["change"] - tried[-1]["standard_error"] >= -MOST_LOST:
            break
    return replace(rule, evidence={"cases": len(cases), **tried[-1], "tried": tried})


def spread(count: int, most: int) -> list[int]:
    """At most so many places of a list, evenly over all of it."""
    return sorted({round(each) for each in np.linspace(0, count - 1, min(count, most))})


def _cases(model: Path, dataset: Dataset, device: str, names: Sequence[tuple[int, str]]) -> Iterator[HeldOut]:
    from autoseg.inference.ensemble import Ensemble, member_folders
    from autoseg.inference.model import load_model

    known: dict[int, Ensemble] = {}
    for fold, name in names:
        label = dataset.case(name).label
        path = model / f"fold_{fold}" / PREDICTIONS / f"{name}{dataset.file_ending}"
        if label is None or not path.is_file():
            continue
        if fold not in known:
            members = member_folders(model)
            known[fold] = Ensemble([load_model(each, [fold], find_device(device)) for each in members])
        yield HeldOut(name, known[fold], label, path)


def _tried(
    rule: FastRule, cases: Sequence[HeldOut], dataset: Dataset, workspace: Workspace
) -> dict[str, Any]:
    """What a rule changes in the mean Dice of each case, and the share of passes that it saves."""
    certainty, changes = rule.certainty(), []
    with progress.stage("Fast prediction", total=len(cases)) as advance:
        for case in cases:
            models = case.ensemble.models
            for model in models:
                model.certainty = certainty
            folders = [workspace.cases_of(dataset.name, m.configuration.data_identifier) for m in models]
            arrays = [m.preprocessed(f, case.name) for m, f in zip(models, folders, strict=True)]
            reference, before = (
                read_segmentation(path, dataset.reader).array[0] for path in (case.reference, case.prediction)
            )
            one, other = (
                dices(found, reference, dataset.labels) for found in (before, case.ensemble.segment(arrays))
            )
            changes.append(np.mean([other[name] - one[name] for name in one]))
            advance(detail=case.name)
    return {
        **rule.how,
        "change": float(np.mean(changes)),
        "standard_error": float(np.std(changes, ddof=1)) / math.sqrt(len(changes)),
        "passes_saved": certainty.passes_saved,
    }


def rule_for(
    models: Sequence[Path], loaded: Any, hashes: Sequence[str], device: str, choices: Options | None
) -> FastRule | None:
    """The rule by which loaded models predict from now on, where they are to be fast; None: all copies.

    Args:
        models: folders or zips, as given.
        loaded: what predicts.
        hashes: see `fast_rule`.
        device: where to predict.
        choices: of whoever predicts.
    """
    if choices is None or not choices.fast:
        return None
    from autoseg.inference.fast_rule import RULES

    mirrored = any(model.mirror_axes for model in loaded.models)
    alone = len(models) == 1 and models[0].is_dir()
    rule = fast_rule(models[0], hashes, device) if alone and mirrored else RULES[-1]
    certainty = rule.certainty()
    for model in loaded.models:
        for each in (model, model.previous):
            if each is not None:
                each.certainty = certainty
    return rule


def tell_saved(done: Predicted, loaded: Any, rule: FastRule | None) -> Predicted:
    """Say how many windows and passes were saved, and what that changes; nothing where no window was seen."""
    certain = loaded.models[0].certainty if rule is not None else None
    if rule is not None and certain is not None and certain.windows:
        log.info(
            "%d of %d windows (%.0f %%) had no mirrored copies, which saved %.0f %% of all passes: %s. %s",
            *(certain.certain, certain.windows, 100 * certain.saved, 100 * certain.passes_saved),
            *(rule.words, rule.change_in_words),
        )
    return done
