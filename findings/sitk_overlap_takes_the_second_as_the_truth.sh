#!/usr/bin/env bash
# Guess:  SimpleITK's LabelOverlapMeasuresImageFilter takes the reference first and the prediction second, as most code
#         that calls it does: a prediction that misses half of a structure has a false negative error of 0.5.
# Seen:   SimpleITK 2.5.7 takes the SECOND image as the truth. With the reference first, a prediction that holds all of
#         the structure and as much again beside it has a false negative error of 0.5 and no false positives; one that
#         misses half of it has a false positive error. With the prediction first both are right. Dice and Jaccard are
#         the same either way, so nothing shows it. The false positive error is a part of the background, not of the
#         prediction: a margin of zeros of 10 voxels around both images makes it 28 times smaller.
# So:     tables of false negatives and false positives made with the reference first say the opposite of what happened.
# Source: SimpleITK 2.5.7 (ITK 5.4), run on 2026-12-01.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "simpleitk==2.5.7" "numpy==2.4.6"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import SimpleITK as sitk

reference = np.zeros((10, 10, 10), np.uint8)
reference[3:7, 3:7, 3:7] = 1
too_much, too_little = reference.copy(), reference.copy()
too_much[3:7, 3:7, 7:10] = 1
too_much[3:7, 3:7, 2] = 1
too_little[3:5] = 0


def errors(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """False negatives, false positives and Dice."""
    measures = sitk.LabelOverlapMeasuresImageFilter()
    measures.Execute(sitk.GetImageFromArray(first), sitk.GetImageFromArray(second))
    found = measures.GetFalseNegativeError(), measures.GetFalsePositiveError(), measures.GetDiceCoefficient()
    return tuple(round(each, 4) for each in found)


background = reference.size - int(reference.sum())
expected = {"too much": (0.0, round(64 / background, 4)), "too little": (0.5, 0.0)}
wrong = {}
for name, prediction in (("too much", too_much), ("too little", too_little)):
    reference_first, prediction_first = errors(reference, prediction), errors(prediction, reference)
    print(f"{name}: false negatives and positives {expected[name]}; reference first {reference_first[:2]}, "
          f"prediction first {prediction_first[:2]}; Dice {reference_first[2]} and {prediction_first[2]}")
    assert prediction_first[:2] == expected[name] and prediction_first[2] == reference_first[2], "no longer as seen"
    wrong[name] = reference_first[:2]
assert wrong["too much"] == (0.5, 0.0), f"no longer as seen: {wrong}"
assert wrong["too little"][0] == 0.0 and wrong["too little"][1] > 0, f"no longer as seen: {wrong}"
margin = errors(np.pad(too_much, 10), np.pad(reference, 10))[1]
print(f"false positives with a margin of zeros: {margin}")
assert margin < expected["too much"][1] / 20, "no longer as seen"
PYTHON
