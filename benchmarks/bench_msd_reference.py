"""Published nnU-Net runs on five tasks of the Medical Segmentation Decathlon through `autoseg leaderboard`.

    AUTOSEG_TEST_DATA=DIR python benchmarks/bench_msd_reference.py

The scores are those that AutoNNUnet (Becktepe et al., 2025) stored for the default nnU-Net, ResEnc M and
ResEnc L: 3d_fullres, 5 folds, 1000 epochs. Their tables of Dice per case and label go through the real
command. What it gives is compared with the check values that come with the data, and every pair is reported
after Holm: which wins survive?
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _machine import HERE, RESULTS, machine, write_results

DATA = Path(os.environ.get("AUTOSEG_TEST_DATA", HERE.parents[1] / "shared" / "data")) / "msd_reference"
DEFAULT, LARGE = "nnunet", "nnunet_resenc_l"

# ResEnc L minus default: percentage points, and the two-sided Wilcoxon p before any adjustment.
STATED = {
    "002_Heart": (-0.13, 0.13),
    "003_Liver": (2.64, 0.007),
    "004_Hippocampus": (-0.42, 2e-10),
    "005_Prostate": (-0.57, 0.76),
    "009_Spleen": (0.37, 0.89),
}
# GPU hours a fold: default, ResEnc M, ResEnc L.
HOURS = {
    "002_Heart": (7.8, 8.7, 28.8),
    "003_Liver": (6.4, 7.5, 11.7),
    "004_Hippocampus": (2.0, 8.4, 25.6),
    "005_Prostate": (5.6, 7.3, 23.2),
    "009_Spleen": (6.1, 7.5, 20.7),
}
LEGEND = (
    "Rank: mean Dice with its 95 % interval, and how often it leads when the cases are drawn again; = is not "
    "told apart from the best."
)
TRAINERS = (DEFAULT, "nnunet_resenc_m", LARGE)


def main() -> None:
    where = machine(packages=("scipy",))
    tables = [DATA / task / "dice_per_case.csv" for task in STATED]
    if missing := [path for path in tables if not path.is_file()]:
        sys.exit(f"{missing[0]} is not there. AUTOSEG_TEST_DATA names the folder that holds msd_reference.")
    began = time.perf_counter()
    board = _leaderboard(tables)
    seconds = time.perf_counter() - began
    results = {
        "seconds": round(seconds, 2),
        "page_bytes": (RESULTS / "msd_reference.html").stat().st_size,
        "check_values": _checks(board),
        "surviving": [pair for pair in _pairs(board) if pair["p_holm"] < 0.05],
        "comparisons": _pairs(board),
        "rows": [{key: row[key] for key in KEPT} for row in board["rows"]],
    }
    text = _report(results)
    print(text)
    write_results("msd_reference", where, results, text)


KEPT = (
    *("dataset", "rank", "tied_with_best", "trainer", "dice", "dice_ci"),
    *("leads_in", "rank_ci", "folds", "n_cases", "n_missing"),
)


def _leaderboard(tables: list[Path]) -> dict[str, Any]:
    """What the command prints with ``--json``; the page goes to the results."""
    with tempfile.TemporaryDirectory() as empty:
        page = RESULTS / "msd_reference.html"
        command = [sys.executable, "-m", "autoseg", "leaderboard", "--workspace", empty, "--json", "--quiet"]
        command += [word for table in tables for word in ("--add", str(table))]
        done = subprocess.run([*command, "--html", str(page)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    if str(DATA) in page.read_text(encoding="utf-8"):
        sys.exit(f"{page} names a folder of this machine.")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _pairs(board: dict[str, Any]) -> list[dict[str, Any]]:
    """All comparisons, the better side first."""
    pairs = []
    for pair in board["comparisons"]:
        flip = pair["difference"] < 0
        low, high = pair["ci"]
        pairs.append(
            {
                "dataset": pair["dataset"],
                "better": pair["b" if flip else "a"],
                "worse": pair["a" if flip else "b"],
                "points": round(100 * abs(pair["difference"]), 3),
                "ci_points": [round(100 * x, 3) for x in ((-high, -low) if flip else (low, high))],
                "p": float(f"{pair['p']:.3g}"),
                "p_holm": float(f"{pair['p_holm']:.3g}"),
                "verdict": pair["verdict"],
            }
        )
    return pairs


def _checks(board: dict[str, Any]) -> list[dict[str, Any]]:
    checks = []
    for pair in board["comparisons"]:
        if {pair["a"], pair["b"]} != {DEFAULT, LARGE}:
            continue
        points, p = STATED[pair["dataset"]]
        sign = 1 if pair["a"] == LARGE else -1
        ours = 100 * sign * pair["difference"]
        checks.append(
            {
                "dataset": pair["dataset"],
                "stated_points": points,
                "points": round(ours, 4),
                "stated_p": p,
                "p": float(f"{pair['p']:.3g}"),
                "p_holm": float(f"{pair['p_holm']:.3g}"),
                "agrees": round(ours, 2) == points and float(_rounded(pair["p"], p)) == p,
            }
        )
    return checks


def _rounded(value: float, stated: float) -> str:
    """The value with as many digits as were stated."""
    digits = len(f"{stated:g}".partition("e")[0].replace(".", "").lstrip("0"))
    return f"{value:.{digits - 1}e}"


def _report(results: dict[str, Any]) -> str:
    checks, surviving = results["check_values"], results["surviving"]
    agreeing = sum(check["agrees"] for check in checks)
    large = [pair for pair in surviving if {pair["better"], pair["worse"]} == {DEFAULT, LARGE}]
    lines = [
        "# Published nnU-Net runs, ranked with their uncertainty",
        "",
        (__doc__ or "").split("\n\n", 2)[2].strip(),
        "",
        f"The command took {results['seconds']:.1f} s, start of Python included; the page, "
        f"[msd_reference.html](msd_reference.html), has {results['page_bytes'] / 1e3:.0f} kB.",
        "",
        "## Which wins survive?",
        "",
        f"{len(surviving)} of {len(results['comparisons'])} comparisons hold after Holm within their task. "
        f"Of ResEnc L against the default, {len(large)} of {len(checks)} hold: "
        + ", ".join(f"{pair['better']} on {pair['dataset']} (+{pair['points']:.2f} points)" for pair in large)
        + ".",
        "",
        "| task | better | worse | points of Dice [95 %] | p | p after Holm |",
        "|---|---|---|---:|---:|---:|",
    ]
    for pair in surviving:
        low, high = pair["ci_points"]
        lines.append(
            f"| {pair['dataset']} | {pair['better']} | {pair['worse']} | {pair['points']:.2f} "
            f"[{low:.2f}, {high:.2f}] | {pair['p']:.2g} | {pair['p_holm']:.2g} |"
        )
    lines += ["", *_ranking(results), "", *_check_table(checks, agreeing)]
    return "\n".join(lines)


def _ranking(results: dict[str, Any]) -> list[str]:
    lines = ["## Ranking", "", "| task | cases | " + " | ".join(TRAINERS) + " | GPU hours a fold |"]
    lines += ["|---|---:|" + "---|" * (len(TRAINERS) + 1)]
    for task in STATED:
        rows = {row["trainer"]: row for row in results["rows"] if row["dataset"] == task}
        cells = []
        for trainer in TRAINERS:
            row = rows[trainer]
            low, high = row["dice_ci"]
            mark = " =" if row["tied_with_best"] else ""
            leads = f"{100 * row['leads_in']:.0f} %"
            cells.append(f"{row['rank']}{mark}: {row['dice']:.3f} [{low:.3f}, {high:.3f}], {leads}")
        hours = " / ".join(f"{value:g}" for value in HOURS[task])
        lines.append(f"| {task} | {rows[DEFAULT]['n_cases']} | {' | '.join(cells)} | {hours} |")
    return [*lines, "", LEGEND]


def _check_table(checks: list[dict[str, Any]], agreeing: int) -> list[str]:
    lines = [
        "## Check values",
        "",
        f"ResEnc L minus default, mean foreground Dice over cases and labels, p before adjustment: "
        f"{agreeing} of {len(checks)} agree to the digits stated.",
        "",
        "| task | points, stated | points, here | p, stated | p, here | agrees |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for check in checks:
        lines.append(
            f"| {check['dataset']} | {check['stated_points']:+.2f} | {check['points']:+.4f} | "
            f"{check['stated_p']:g} | {check['p']:g} | {'yes' if check['agrees'] else 'NO'} |"
        )
    return lines


if __name__ == "__main__":
    main()
