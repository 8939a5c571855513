"""Surface metrics of one case: autoseg beside MONAI and DeepMind's surface-distance, in one run.

    python benchmarks/bench_metrics.py [--rounds 5] [--small]

One case of 192 x 192 x 160 voxels of 0.8 x 0.8 x 2.5 mm with four structures; HD95, NSD at 2 mm and ASSD of
each. Three predictions: close to the reference, further off, and noise. Every library runs in processes of
its own with one thread, all in turn in each round; what is reported is CPU time (median over rounds) of a
second scoring, after imports and tables are warm, and how far the peak of resident memory lies above the
loaded label maps. "both" is voxel and surfel definitions together, where ours gives two metrics more than
MONAI (HD95 and MASD of surfels). The values are compared. surface-distance is measured where it is installed
(`pip install surface-distance`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from _machine import machine, write_results

SHAPE, SPACING, TOLERANCE = (192, 192, 160), (0.8, 0.8, 2.5), 2.0
SMALL = (96, 96, 80)
STRUCTURES = {str(label): (label,) for label in range(1, 5)}
VOXEL, SURFEL = ("hd95", "nsd_voxel", "assd"), ("hd95_surfel", "nsd", "masd_surfel")
PREDICTIONS = ("close", "off")

# What is compared: ours, theirs, the least ratio of CPU times.
COMPARISONS = (
    ("voxel", "autoseg voxel", "monai voxel", 10.0),
    ("surfel", "autoseg surfel", "surface-distance", 2.5),
    ("both", "autoseg both", "monai both", 5.0),
)
NOISE_GOAL_S = 2.0

Values = dict[str, float]
Scorer = Callable[[np.ndarray, np.ndarray], Values]


def main() -> None:
    options = _options()
    if options.worker:
        print(json.dumps(_measure(options.worker, Path(options.case))))
        return
    packages = ("monai", "torch", *(("surface-distance",) if find_spec("surface_distance") else ()))
    where = machine(packages=("scipy", "edt", *packages))
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.npy" for name in (*PREDICTIONS, "noise")}
        for name, path in files.items():
            np.save(path, label_maps(name, SMALL if options.small else SHAPE))
        names = [name for name in SCORERS if name != "surface-distance" or find_spec("surface_distance")]
        cases = {case: _run(names, files[case], options.rounds) for case in PREDICTIONS}
        peers = [name for name in ("monai both", "surface-distance") if name in names]
        noise = _run(["autoseg both", "autoseg all", *peers], files["noise"], 1)
    results = {"cases": cases, "noise": noise, "comparisons": _compare(cases)}
    text = _report(results)
    print(text)
    if not (options.dry or options.small):
        write_results("metrics", where, results, text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="Runs of each library.")
    parser.add_argument("--dry", action="store_true", help="Do not write the results file.")
    parser.add_argument("--small", action="store_true", help="An eighth of the voxels, not written.")
    parser.add_argument("--worker", choices=SCORERS, help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    return parser.parse_args()


# ---- The case


def label_maps(kind: str, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Reference and prediction, (2, *shape) uint8: four bodies with wavy surfaces."""
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(11)
    axes = np.ogrid[tuple(slice(-1, 1, complex(0, n)) for n in shape)]
    maps = np.zeros((2, *shape), np.uint8)
    for label, (y, x, radius) in enumerate(
        [(-0.4, -0.4, 0.4), (0.4, -0.4, 0.36), (-0.4, 0.4, 0.3), (0.4, 0.4, 0.38)], 1
    ):
        body = sum(
            ((axis - c) / radius) ** 2 for axis, c in zip(axes, (y, x, 0.1 * label - 0.3), strict=True)
        )
        for segmentation, strength in zip(maps, (0.12, 0.1 if kind == "close" else 0.3), strict=True):
            field = gaussian_filter(random.standard_normal(shape).astype(np.float32), (9, 9, 3))
            body = body + strength * field / field.std()
            segmentation[body < 1] = label
    if kind == "noise":
        maps[1] = random.integers(0, 5, shape)
    return maps


# ---- The libraries: label maps in, values by "structure metric" out


def _autoseg(*metrics: str) -> Scorer:
    from autoseg.metrics import score_case

    def score(reference: np.ndarray, prediction: np.ndarray) -> Values:
        found = score_case(
            reference, prediction, STRUCTURES, SPACING, tolerance_mm=TOLERANCE, metrics=metrics or None
        )
        return {f"{score.structure} {score.metric}": score.value for score in found}

    return score


def _monai(surfels: bool) -> Scorer:
    import torch
    from monai.metrics import (
        compute_average_surface_distance,
        compute_hausdorff_distance,
        compute_surface_dice,
    )

    torch.set_num_threads(1)

    def score(reference: np.ndarray, prediction: np.ndarray) -> Values:
        y, p = (
            torch.from_numpy(np.stack([labels == k for k in range(5)])[None])
            for labels in (reference, prediction)
        )
        tau = [TOLERANCE] * 4
        found = {
            "hd95": compute_hausdorff_distance(p, y, percentile=95, spacing=SPACING),
            "nsd_voxel": compute_surface_dice(p, y, tau, spacing=SPACING),
            "assd": compute_average_surface_distance(p, y, symmetric=True, spacing=SPACING),
        }
        if surfels:
            found["nsd"] = compute_surface_dice(p, y, tau, spacing=SPACING, use_subvoxels=True)
        return {f"{k} {m}": float(v[0, k - 1]) for m, v in found.items() for k in range(1, 5)}

    return score


def _surface_distance() -> Scorer:
    from surface_distance import metrics

    def score(reference: np.ndarray, prediction: np.ndarray) -> Values:
        values = {}
        for k in range(1, 5):
            pair = metrics.compute_surface_distances(reference == k, prediction == k, SPACING)
            values[f"{k} hd95_surfel"] = float(metrics.compute_robust_hausdorff(pair, 95))
            values[f"{k} nsd"] = float(metrics.compute_surface_dice_at_tolerance(pair, TOLERANCE))
            values[f"{k} masd_surfel"] = float(np.mean(metrics.compute_average_surface_distance(pair)))
        return values

    return score


SCORERS: dict[str, Callable[[], Scorer]] = {
    "autoseg voxel": lambda: _autoseg(*VOXEL),
    "monai voxel": lambda: _monai(surfels=False),
    "autoseg surfel": lambda: _autoseg(*SURFEL),
    "surface-distance": _surface_distance,
    "autoseg both": lambda: _autoseg(*VOXEL, *SURFEL),
    "monai both": lambda: _monai(surfels=True),
    "autoseg all": lambda: _autoseg(),
}


# ---- Measuring


def _measure(name: str, case: Path) -> dict[str, Any]:
    """In a process of its own: memory of the first scoring, CPU time of the second."""
    warnings.simplefilter("ignore")
    score = SCORERS[name]()
    score(*label_maps("close", (24, 24, 24)))  # imports and tables are not what is measured
    reference, prediction = np.load(case)
    before = _from_now_on()
    score(reference, prediction)
    peak = _status_mb("VmHWM") - before
    start = time.process_time()
    values = score(reference, prediction)
    return {"cpu_s": time.process_time() - start, "peak_mb": peak, "values": values}


def _from_now_on() -> float:
    """Forget the peak so far; the memory in use now, MB.

    Not `ru_maxrss`: it also counts the parent's memory before the program was loaded.
    """
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status_mb("VmRSS")


def _status_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def _run(names: list[str], case: Path, rounds: int) -> dict[str, Any]:
    """All libraries in turn, again and again, so that a busy machine is busy for all."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    environment = {**os.environ, **{f"{lib}_NUM_THREADS": "1" for lib in ("OMP", "OPENBLAS", "MKL")}}
    for _ in range(rounds):
        for name in names:
            command = [sys.executable, __file__, "--worker", name, "--case", str(case)]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{name} failed: {done.stderr[-2000:]}")
            runs[name].append(json.loads(done.stdout.splitlines()[-1]))
    return {
        name: {
            "cpu_s": round(statistics.median(run["cpu_s"] for run in each), 4),
            "cpu_s_least": round(min(run["cpu_s"] for run in each), 4),
            "cpu_s_most": round(max(run["cpu_s"] for run in each), 4),
            "peak_mb": round(statistics.median(run["peak_mb"] for run in each), 1),
            "values": each[0]["values"],
        }
        for name, each in runs.items()
    }


def _compare(cases: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for case, runs in cases.items():
        for definitions, ours, theirs, goal in COMPARISONS:
            if theirs in runs:
                a, b = runs[ours], runs[theirs]
                shared = a["values"].keys() & b["values"].keys()
                rows.append(
                    {
                        "prediction": case,
                        "definitions": definitions,
                        "ours": ours,
                        "theirs": theirs,
                        "ratio": round(b["cpu_s"] / a["cpu_s"], 2),
                        "goal": goal,
                        "memory_ours_mb": a["peak_mb"],
                        "memory_theirs_mb": b["peak_mb"],
                        "values_compared": len(shared),
                        "largest_difference": max(abs(a["values"][k] - b["values"][k]) for k in shared),
                    }
                )
    return rows


def _report(results: dict[str, Any]) -> str:
    lines = ["# Surface metrics of one case", "", (__doc__ or "").split("\n\n", 2)[2], "", "## Ratios", ""]
    lines += [
        "| prediction | definitions | against | CPU ratio | goal | peak MB, theirs | largest difference |"
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in results["comparisons"]:
        met = (
            "met"
            if row["ratio"] >= row["goal"] and row["memory_ours_mb"] < row["memory_theirs_mb"]
            else "missed"
        )
        lines.append(
            f"| {row['prediction']} | {row['definitions']} | {row['theirs']} | {row['ratio']:.1f} | "
            f"{row['goal']:g}, {met} | {row['memory_ours_mb']:.0f}, {row['memory_theirs_mb']:.0f} | "
            f"{row['largest_difference']:.1e} ({row['values_compared']} values) |"
        )
    if not any(row["theirs"] == "surface-distance" for row in results["comparisons"]):
        lines += ["", "surface-distance is not installed here and was not measured."]
    lines += [
        "",
        "## CPU seconds a case (least to most)",
        "",
        "| prediction | library | CPU s | peak MB |",
        "|---|---|---|---|",
    ]
    for case, runs in (results["cases"] | {"noise": results["noise"]}).items():
        for name, run in runs.items():
            spread = f"{run['cpu_s']:.3f} ({run['cpu_s_least']:.3f} to {run['cpu_s_most']:.3f})"
            lines.append(f"| {case} | {name} | {spread} | {run['peak_mb']:.0f} |")
    worst = results["noise"]["autoseg all"]["cpu_s"] / len(STRUCTURES)
    met = "met" if worst <= NOISE_GOAL_S else "missed"
    lines += [
        "",
        f"All metrics of a noise prediction: {worst:.2f} CPU s a structure (goal {NOISE_GOAL_S:g} s, {met}).",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
