"""The published comparison that the statistics must reproduce: nnU-Net presets on five MSD tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autoseg.leaderboard.foreign.add import records_from_csv
from autoseg.leaderboard.ranking.ranking import rank

# ResEnc L minus default: mean difference in percentage points, uncorrected two-sided Wilcoxon p.
PUBLISHED = {
    "002_Heart": (-0.13, 0.13),
    "003_Liver": (2.64, 0.007),
    "004_Hippocampus": (-0.42, 2e-10),
    "005_Prostate": (-0.57, 0.76),
    "009_Spleen": (0.37, 0.89),
}


@pytest.mark.parametrize("task", PUBLISHED)
def test_the_published_differences_come_out(task: str, shared_data: Callable[[str], Path]) -> None:
    records = records_from_csv(shared_data("msd_reference") / task / "dice_per_case.csv")
    board = rank(records)
    points, p = PUBLISHED[task]
    pair = next(c for c in board.comparisons() if (c["a"], c["b"]) == ("nnunet", "nnunet_resenc_l"))
    assert round(-100 * pair["difference"], 2) == points
    assert (
        f"{pair['p']:.0e}" == f"{p:.0e}"
        if p < 1e-3
        else pair["p"] == pytest.approx(p, abs=10 ** -len(str(p)[2:]) / 2)
    )
    assert pair["p_holm"] >= pair["p"]
    assert pair["ci"][0] < pair["difference"] < pair["ci"][1]
    (item,) = board.sets
    assert item.analysis.stability is not None
    assert sum(item.analysis.stability.p_best) == pytest.approx(1)


def test_only_liver_and_hippocampus_hold_after_holm(shared_data: Callable[[str], Path]) -> None:
    root = shared_data("msd_reference")
    records = [record for task in PUBLISHED for record in records_from_csv(root / task / "dice_per_case.csv")]
    board = rank(records, resamples=1000)
    verdicts = {
        c["dataset"]: c["verdict"]
        for c in board.comparisons()
        if (c["a"], c["b"]) == ("nnunet", "nnunet_resenc_l")
    }
    assert verdicts["003_Liver"] == "b" and verdicts["004_Hippocampus"] == "a"
    assert all(
        verdicts[task] in ("equivalent", "undecided") for task in ("002_Heart", "005_Prostate", "009_Spleen")
    )
    best = {row.dataset: row.name for row in board.rows if row.rank == 1}
    assert best["004_Hippocampus"] == "nnunet"
    few = [item.comparable.dataset for item in board.sets if any("Only" in note for note in item.warnings)]
    assert few == ["002_Heart", "005_Prostate", "009_Spleen"]
