"""From a raw data set to preprocessed cases: autoseg beside nnU-Net, as whole processes, in one run.

    python benchmarks/bench_preprocess.py --data FOLDER [--scratch FOLDER] [--repeats 1]

Measured are verification, fingerprint, plan and preprocessing together: nnU-Net's
`nnUNetv2_plan_and_preprocess -d ID --verify_dataset_integrity`, and autoseg's four commands one after the
other. Both read the same files and both write nnU-Net's format; what they wrote is compared.

Two data sets: the 130 real cases of Dataset004_Hippocampus in FOLDER, all configurations; and six phantoms
of four channels at about 160 x 256 x 256 voxels (seeded, made in the scratch folder), 3d_fullres.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _machine import cores, machine, write_results
from _phantoms import PHANTOMS, write_phantoms
from _processes import Cost, measure

OURS = ("verify", "fingerprint", "plan", "preprocess")
SPEED_GOAL, MEMORY_GOAL, IMAGE_GOAL = 6.0, 1 / 3, 1e-3


def main() -> None:
    where = machine(packages=("nnunetv2", "batchgenerators", "scikit-image", "scipy", "SimpleITK", "blosc2"))
    options = _options()
    scratch = Path(options.scratch or tempfile.mkdtemp(prefix="bench_preprocess_"))
    raw = scratch / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    results = []
    if "hippocampus" in options.only:
        (raw / "Dataset004_Hippocampus").unlink(missing_ok=True)
        (raw / "Dataset004_Hippocampus").symlink_to(Path(options.data).resolve() / "Dataset004_Hippocampus")
        results.append(_compare(raw / "Dataset004_Hippocampus", (), scratch, options))
    if "phantoms" in options.only:
        write_phantoms(raw / PHANTOMS, cases=options.cases)
        results.append(_compare(raw / PHANTOMS, ("3d_fullres",), scratch, options))
    text = _report(results)
    print(text)
    if not options.dry:
        write_results("preprocess", where, results, text)
    if options.scratch is None:
        shutil.rmtree(scratch)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("AUTOSEG_TEST_DATA", "."), help="the raw data sets")
    parser.add_argument("--scratch", help="kept if named; otherwise a temporary folder")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=["hippocampus", "phantoms"])
    parser.add_argument("--cases", type=int, default=6, help="number of phantoms")
    parser.add_argument("--peers", nargs="+", default=["stock", "stock_2"], help="stock_2: -npfp as -np")
    parser.add_argument("--dry", action="store_true", help="write no results file")
    return parser.parse_args()


def _compare(root: Path, configurations: tuple[str, ...], scratch: Path, options: Any) -> dict[str, Any]:
    """Measure everybody on one data set, turn by turn, and compare what they wrote."""
    for path in sorted(root.resolve().rglob("*.nii.gz")):
        path.read_bytes()  # in the page cache for everybody
    costs: dict[str, list[Cost]] = {}
    for _ in range(options.repeats):
        for name in ("autoseg", *options.peers):
            target = scratch / name
            shutil.rmtree(target / "preprocessed" / root.name, ignore_errors=True)
            (target / "logs").mkdir(parents=True, exist_ok=True)
            run = _run_ours if name == "autoseg" else _run_stock
            costs.setdefault(name, []).append(run(name, root, configurations, target))
            print(f"{root.name} {name}: {costs[name][-1]}", file=sys.stderr)
    folders = [scratch / name / "preprocessed" / root.name for name in ("autoseg", options.peers[0])]
    return {
        "dataset": root.name,
        "configurations": list(configurations) or "all planned",
        "costs": {name: [cost.to_json() for cost in each] for name, each in costs.items()},
        "agreement": _agreement(*folders),
    }


def _run_ours(name: str, root: Path, configurations: tuple[str, ...], target: Path) -> Cost:
    workspace = target / "workspace"
    shutil.rmtree(workspace, ignore_errors=True)
    (workspace / "raw").mkdir(parents=True)
    (workspace / "raw" / root.name).symlink_to(root.resolve())
    target_of = target / "preprocessed"
    target_of.mkdir(exist_ok=True)
    (workspace / "preprocessed").symlink_to(target_of)
    asked = [word for name in configurations for word in ("--configuration", name)]
    total = Cost(0, 0, 0, 0)
    for stage in OURS:
        command = [sys.executable, "-m", "autoseg", stage, root.name, "--workspace", str(workspace)]
        command += asked if stage == "preprocess" else []
        total += measure(command, {}, target / "logs" / f"{root.name}_{stage}.txt")
    return total


def _run_stock(name: str, root: Path, configurations: tuple[str, ...], target: Path) -> Cost:
    number = root.name[len("Dataset") :].split("_")[0]
    count = str(cores())
    program = Path(sys.executable).with_name("nnUNetv2_plan_and_preprocess")
    command = [str(program), "-d", number, "--verify_dataset_integrity", "-np", count]
    command += ["-npfp", count] if name == "stock_2" else []
    command += ["-c", *configurations] if configurations else []
    folders = {"raw": root.parent, "preprocessed": target / "preprocessed", "results": target / "results"}
    environment = {f"nnUNet_{key}": str(path) for key, path in folders.items()}
    return measure(command, environment, target / "logs" / f"{root.name}.txt")


def _agreement(ours: Path, stock: Path) -> dict[str, Any]:
    """How far two preprocessed data sets agree."""
    fingerprints = [json.loads((folder / "dataset_fingerprint.json").read_text()) for folder in (ours, stock)]
    plans = [json.loads((folder / "nnUNetPlans.json").read_text()) for folder in (ours, stock)]
    folders = sorted(path.name for path in stock.glob("nnUNetPlans_*") if path.is_dir())
    return {
        "fingerprint_equal": all(fingerprints[0].get(key) == value for key, value in fingerprints[1].items()),
        "plan_equal": all(
            plans[0].get(key) == value for key, value in plans[1].items() if key != "configurations"
        )
        and _configurations(plans[0]) == _configurations(plans[1]),
        "cases": {name: _arrays(ours / name, stock / name) for name in folders},
    }


def _configurations(plan: dict[str, Any]) -> dict[str, Any]:
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plan)
    found = {name: dict(manager.get_configuration(name).configuration) for name in plan["configurations"]}
    for each in found.values():
        each.pop("inherits_from", None)
    return found


def _arrays(ours: Path, stock: Path) -> dict[str, Any]:
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    mine, theirs = nnUNetDatasetBlosc2(str(ours)), nnUNetDatasetBlosc2(str(stock))
    worst, labels, voxels, properties, sizes = 0.0, 0, 0, True, [0, 0]
    for case in theirs.identifiers:
        (a, b, _, known), (x, y, _, expected) = mine.load_case(case), theirs.load_case(case)
        for channel in range(x.shape[0]):
            one, other = a[channel], x[channel]
            worst = max(worst, float(np.abs(one - other).max() / max(float(np.ptp(other)), 1e-8)))
        labels += int(np.count_nonzero(b[:] != y[:]))
        voxels += int(np.prod(y.shape))
        properties &= _same(known, expected)
        sizes = [sizes[0] + a.schunk.cbytes + b.schunk.cbytes, sizes[1] + x.schunk.cbytes + y.schunk.cbytes]
    return {
        "cases": len(theirs.identifiers),
        "same_cases": mine.identifiers == theirs.identifiers,
        "largest_image_difference_of_range": worst,
        "differing_label_voxels": labels,
        "label_voxels": voxels,
        "properties_equal": properties,
        "disk_mb": {"autoseg": round(sizes[0] / 1e6, 1), "stock": round(sizes[1] / 1e6, 1)},
    }


def _same(one: Any, other: Any) -> bool:
    if isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in other)
    return bool(np.array_equal(one, other)) if isinstance(other, np.ndarray) else bool(one == other)


def _report(results: list[dict[str, Any]]) -> str:
    lines = [
        "# From raw data to preprocessed cases, beside nnU-Net",
        "",
        "Verification, fingerprint, plan and preprocessing as whole processes on the same files. autoseg",
        "runs its four commands one after the other; stock is `nnUNetv2_plan_and_preprocess",
        f"--verify_dataset_integrity -np {cores()}`, stock_2 the same with `-npfp {cores()}`: as many",
        "processes for the fingerprint, where stock takes 8. Memory is the peak of the process tree, sampled",
        "every 0.1 s: PSS counts shared memory once, RSS in each process. Medians over the repeats.",
    ]
    for each in results:
        lines += [
            "",
            f"## {each['dataset']}",
            "",
            "| | wall s | CPU s | peak PSS MB | peak RSS MB |",
            "|---|---|---|---|---|",
        ]
        middle = {name: _median(costs) for name, costs in each["costs"].items()}
        for name, cost in middle.items():
            lines.append(f"| {name} | " + " | ".join(f"{value:.1f}" for value in cost.values()) + " |")
        own = middle.pop("autoseg")
        for name, cost in middle.items():
            ratios = [cost[key] / own[key] for key in own]
            lines.append(f"| {name} / autoseg | " + " | ".join(f"{ratio:.1f}" for ratio in ratios) + " |")
        lines += ["", *_agreement_lines(each["agreement"])]
    return "\n".join(lines)


def _median(costs: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(cost[key] for cost in costs) for key in costs[0]}


def _agreement_lines(agreement: dict[str, Any]) -> list[str]:
    lines = [
        f"Fingerprint equal: {agreement['fingerprint_equal']}. Plan equal: {agreement['plan_equal']}.",
        "",
        "| folder | cases | largest difference / range | differing labels | same properties | disk MB |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in agreement["cases"].items():
        lines.append(
            f"| {name} | {found['cases']} | {found['largest_image_difference_of_range']:.1e} | "
            f"{found['differing_label_voxels']} of {found['label_voxels']} | {found['properties_equal']} | "
            f"{found['disk_mb']['autoseg']} (stock {found['disk_mb']['stock']}) |"
        )
    return lines


if __name__ == "__main__":
    main()
