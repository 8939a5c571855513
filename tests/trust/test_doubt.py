"""Doubtful references: planted errors come first, hard cases do not."""

from dataclasses import replace

import numpy as np
from held_out_cases import held_out

from autoseg.trust.doubt import WORTH_A_LOOK, doubts_of
from autoseg.trust.held_out import HeldOut
from autoseg.trust.risk import auroc


def with_dice(case: HeldOut, dice: float) -> HeldOut:
    organ = replace(case.structures["organ"], dice=dice)
    return replace(case, structures={"organ": organ})


def test_a_wrong_reference_is_doubted_before_a_hard_case() -> None:
    cases = held_out(60)
    # The surest case of all gets a reference that does not fit it, better than that of the hardest case.
    hardest = min(cases, key=lambda each: each.dice)
    easiest = max(range(60), key=lambda index: cases[index].dice)
    wrong = hardest.dice + 0.02
    cases[easiest] = with_dice(cases[easiest], wrong)
    doubts = doubts_of(cases, ["organ"])
    assert doubts[0].case == cases[easiest].case
    assert doubts[0].score > WORTH_A_LOOK
    assert min(each.dice for each in doubts) < wrong


def test_planted_errors_are_ranked_above_the_rest() -> None:
    areas = []
    for seed in range(5):
        cases, random = held_out(60, seed), np.random.default_rng(seed)
        planted = set(random.choice(60, 6, replace=False).tolist())
        cases = [with_dice(c, c.dice * 0.6) if i in planted else c for i, c in enumerate(cases)]
        names = {cases[index].case for index in planted}
        doubts = doubts_of(cases, ["organ"])
        areas.append(auroc([each.case in names for each in doubts], [each.score for each in doubts]))
    assert np.mean(areas) > 0.95


def test_the_reason_says_what_is_missing() -> None:
    cases = held_out(30)
    organ = replace(cases[3].structures["organ"], dice=0.0, reference_size=0.0)
    cases[3] = replace(cases[3], structures={"organ": organ})
    first = doubts_of(cases, ["organ"])[0]
    assert (first.case, first.structure) == (cases[3].case, "organ")
    assert first.reason.startswith("organ: held-out prediction and reference have a Dice of 0.00, where 0.")
    assert first.reason.endswith("the reference has none of it")
