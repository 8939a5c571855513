"""A seeded corpus of odd and hostile inputs: each is tried on the real commands, and holds or does not.

    python benchmarks/bench_edges.py [--only KIND,KIND] [--seed N]

Every input runs in a forked process of its own with all its output caught. It holds if the result is right,
or if it is refused with the value or file, a rule, what to do and an exit status other than 0 and 70; if
nothing outside the workspace and the output changed and no file was left half written; and if the process and
its children stayed below 1 GB of memory (beyond what this program has itself) and 10 s of processor time.
Results: benchmarks/results/edges.md and .json.
"""

from __future__ import annotations

import argparse
import gc
import random
import shutil
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import _edge_bases
import _edge_dicom
import _edge_documents
import _edge_images
import _edge_models
import _edge_suites
import _edge_system
from _edges import MOST_CPU_S, MOST_MEMORY_MB, Edge, Tried, tried
from _machine import machine, write_results

GENERATORS = (
    *_edge_documents.GENERATORS,
    *_edge_suites.GENERATORS,
    *_edge_images.GENERATORS,
    *_edge_dicom.GENERATORS,
    *_edge_models.GENERATORS,
    *_edge_system.GENERATORS,
)


def corpus(seed: int) -> list[Edge]:
    """All inputs; the same for the same seed."""
    return [edge for each in GENERATORS for edge in each(random.Random(f"{seed} {each.__name__}"))]


def main() -> None:
    options = _options()
    where = machine(packages=("SimpleITK", "torch", "pydantic", "PyYAML"))
    _warm()
    edges = [
        edge for edge in corpus(options.seed) if not options.only or edge.kind in options.only.split(",")
    ]
    found = []
    for number, edge in enumerate(edges):
        folder = Path(tempfile.mkdtemp(prefix="edge_"))
        try:
            found.append(tried(edge, folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if not found[-1].held or options.all:
            print(
                f"{number:5} {edge.kind}: {edge.name}: {found[-1].how}: {found[-1].words[:300]}", flush=True
            )
    _edge_bases.clear()
    for kind, counts in _counts(found).items():
        print(f"{kind:16} {counts['held']:5} of {sum(counts.values()):5}")
    if not options.only:
        broken = [asdict(each) for each in found if not each.held]
        write_results("edges", where, {"counts": _counts(found), "broken": broken}, _page(found, where))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--all", action="store_true", help="Print every input.")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _warm() -> None:
    """Import what commands import, once for all of them."""
    import torch

    import autoseg.benchmark.jobs.layout
    import autoseg.cli.app
    import autoseg.data.intensities
    import autoseg.inference.ensemble
    import autoseg.intake.conversion
    import autoseg.intake.verification.dataset_check
    import autoseg.leaderboard.of_workspace
    import autoseg.leaderboard.page.page
    import autoseg.pipeline.walk
    import autoseg.trainers.nnunet

    torch.set_num_threads(1)
    # nnU-Net's 10^8 draws a channel take 400 MB and most of the time whatever the input; fewer show as much.
    autoseg.data.intensities.SAMPLES = 10**6
    gc.collect()
    gc.freeze()


def _counts(found: list[Tried]) -> dict[str, Counter[str]]:
    kinds: dict[str, Counter[str]] = {}
    for each in found:
        kinds.setdefault(each.kind, Counter())["held" if each.held else each.how.split(":")[0]] += 1
    return kinds


def _page(found: list[Tried], where: dict[str, Any]) -> str:
    held = sum(each.held for each in found)
    lines = [
        "# Odd and hostile inputs",
        "",
        f"`{where['command']}`, commit {where['commit']}, {where['date']}. {held} of {len(found)} inputs "
        f"held: a right result, or a refusal with the value, a rule and a remedy, exit status neither 0 nor "
        f"70; nothing outside touched, nothing left half written, below {MOST_MEMORY_MB} MB and "
        f"{MOST_CPU_S} s.",
        "",
        "| kind | tried | held | results | refused | largest memory, MB | longest, s | what did not hold |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind, counts in _counts(found).items():
        part = [each for each in found if each.kind == kind]
        broken = ", ".join(f"{count} {how}" for how, count in counts.items() if how != "held")
        lines.append(
            f"| {kind} | {len(part)} | {counts['held']} | {sum(e.how == 'result' for e in part)} | "
            f"{sum(e.how == 'refused' for e in part)} | {max(e.memory_mb for e in part):.0f} | "
            f"{max(e.cpu_s for e in part):.1f} | {broken or 'nothing'} |"
        )
    lines += ["", *(f"- {e.kind}: {e.name}: {e.how}: {e.words[:200]}" for e in found if not e.held)]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
