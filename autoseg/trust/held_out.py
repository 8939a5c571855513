"""The held-out cases of a trained model, with all that is known of them: what its quality is fitted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from autoseg.data.dataset import Dataset
from autoseg.evaluation.result import Evaluation
from autoseg.trust.fold_facts import evidence_of, facts_of_fold
from autoseg.trust.profiles import Profile
from autoseg.trust.spread import distances, largest, spreads
from autoseg.trust.structure_model import CalibrationCase
from autoseg.trust.written import PLAIN, PREDICTIONS, Written

# Of a fold's folder; the same name as `autoseg.run.Run` has.
EVALUATION = "evaluation.json"

__all__ = ["EVALUATION", "PREDICTIONS", "HeldOut", "held_out_of"]


@dataclass(frozen=True)
class HeldOut:
    """One case that its fold had not seen.

    Attributes:
        case, group: its identifier and what it belongs to.
        structures: by name.
        inputs: quantities of its image.
        input_distance: the largest distance of one to the fold's training cases.
        reference_distance: the same of the shapes of its reference.
        entropy: mean entropy of the voxels, nats.
        outlines: the image across the reference's outline, by structure, see `autoseg.trust.outline`.
    """

    case: str
    group: str
    structures: Mapping[str, CalibrationCase]
    inputs: Mapping[str, float]
    input_distance: float
    reference_distance: float
    entropy: float
    outlines: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def dice(self) -> float:
        """Mean over the structures."""
        return float(np.mean([each.dice for each in self.structures.values()]))


def held_out_of(
    fold: Path,
    dataset: Dataset,
    profiles: Mapping[str, Profile],
    workers: int | None = None,
    written: Written = PLAIN,
) -> list[HeldOut]:
    """The held-out cases of a fold, with references and images of all cases that it did not hold out.

    Args:
        fold: its folder.
        dataset: its data set.
        profiles: of all training cases.
        workers: processes for reading.
        written: how the model's segmentations come to be what is written; that is what is judged.
    """
    evaluation = Evaluation.load(fold / EVALUATION)
    facts, scores = facts_of_fold(fold, dataset, profiles, workers, written)
    evidence = evidence_of(fold, written.evidence)
    seen = [profile for case, profile in profiles.items() if case not in set(evaluation.cases)]
    dice = {
        (score.case, score.structure): score.value for score in evaluation.scores if score.metric == "dice"
    }
    dice |= {(case, name): value for case, values in scores.items() for name, value in values.items()}
    known = {
        name: spreads([each.shapes[name].quantities(each.flat) for each in seen])
        for name in dataset.labels.structures
    }
    images = spreads([each.inputs for each in seen])
    found = []
    for case, structures in facts.items():
        group, profile = dataset.groups.get(case, case), profiles[case]
        cases = {
            name: CalibrationCase(case, group, each, dice[case, name], profile.shapes[name].size, known[name])
            for name, each in structures.items()
            if (case, name) in dice
        }
        far = largest(distances(profile.inputs, images))
        odd = max(
            largest(distances(profile.shapes[name].quantities(profile.flat), known[name])) for name in known
        )
        entropy = float(evidence[case]["entropy"])
        found.append(HeldOut(case, group, cases, profile.inputs, far, odd, entropy, profile.outlines))
    return [each for each in found if len(each.structures) == len(dataset.labels.structures)]
