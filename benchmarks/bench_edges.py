"""A seeded corpus of odd and hostile inputs: each is tried on the real commands, and holds or does not.

    python benchmarks/bench_edges.py [--only KIND,KIND] [--seed N]
    python benchmarks/bench_edges.py --whole 5 [--only KIND,KIND]

Every input runs in a forked process of its own with all its output caught. It holds if the result is right,
or if it is refused with the value or file, a rule, what to do and an exit status other than 0 and 70; if
nothing outside the workspace and the output changed and no file was left half written; and if the process and
its children stayed below 1 GB of memory (beyond what this program has itself) and 10 s of processor time.
With --whole, so many command lines of each kind run as processes of their own, as users run them, and all of
their memory counts, that of Python and its libraries too.
Results: benchmarks/results/edges.md and .json.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import _edge_bases
import _edge_decisions
import _edge_dicom
import _edge_documents
import _edge_images
import _edge_life
import _edge_models
import _edge_scores
import _edge_suites
import _edge_system
from _edges import MOST_CPU_S, MOST_MEMORY_MB, Edge, Tried, own_mb, tried
from _machine import RESULTS, machine, write_results

GENERATORS = (
    *_edge_documents.GENERATORS,
    *_edge_suites.GENERATORS,
    *_edge_images.GENERATORS,
    *_edge_dicom.GENERATORS,
    *_edge_models.GENERATORS,
    *_edge_decisions.GENERATORS,
    *_edge_scores.GENERATORS,
    *_edge_system.GENERATORS,
    *_edge_life.GENERATORS,
)


def corpus(seed: int) -> list[Edge]:
    """All inputs; the same for the same seed."""
    return [edge for each in GENERATORS for edge in each(random.Random(f"{seed} {each.__name__}"))]


def main() -> None:
    options = _options()
    where = machine(packages=("SimpleITK", "torch", "pydantic", "PyYAML"))
    _warm()
    wanted = options.only.split(",") if options.only else None
    kinds: dict[str, list[Edge]] = {}
    for edge in corpus(options.seed):
        if wanted is None or edge.kind in wanted:
            kinds.setdefault(edge.kind, []).append(edge)
    for kind, edges in kinds.items():
        if options.whole:
            found = _whole(edges, options.whole, random.Random(f"{options.seed} {kind}"), options.all)
        else:
            found = [_tried(edge, options.all) for edge in edges]
        print(f"{kind:16} {sum(each.held for each in found):5} of {len(found):5}", flush=True)
        _write(kind, found, where, options.seed, bool(options.whole))
    _edge_bases.clear()


def _whole(edges: list[Edge], count: int, rng: random.Random, every: bool) -> list[Tried]:
    """Some inputs of a kind as whole processes; those that are no command line are passed over."""
    found: list[Tried] = []
    for edge in rng.sample(edges, len(edges)):
        if len(found) == count:
            break
        with tempfile.TemporaryDirectory(prefix="edge_") as folder:
            command = not callable(edge.make(Path(folder)))
        if command:
            found.append(_tried(edge, every, whole=True))
    return found


def _tried(edge: Edge, every: bool, whole: bool = False) -> Tried:
    folder = Path(tempfile.mkdtemp(prefix="edge_"))
    try:
        found = tried(edge, folder, whole)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if every or not found.held:
        print(f"{edge.kind}: {edge.name}: {found.how}: {found.words[:300]}", flush=True)
    return found


def _write(kind: str, found: list[Tried], where: dict[str, Any], seed: int, whole: bool) -> None:
    """The results with this kind anew; the others stay, each with the commit that it was tried at."""
    path = RESULTS / "edges.json"
    kinds = json.loads(path.read_text())["results"] if path.is_file() else {}
    if whole:
        kinds.setdefault(kind, {})["whole"] = {
            "tried": len(found),
            "held": sum(each.held for each in found),
            "memory_mb": max((each.memory_mb for each in found), default=0),
            "cpu_s": max((each.cpu_s for each in found), default=0),
            "own_mb": own_mb(),
            "commit": where["commit"],
            "broken": [asdict(each) for each in found if not each.held],
        }
        write_results("edges", where, kinds, _page(kinds))
        return
    kinds[kind] = {
        **({"whole": kinds[kind]["whole"]} if "whole" in kinds.get(kind, {}) else {}),
        "seed": seed,
        "commit": where["commit"],
        "date": where["date"],
        "tried": len(found),
        "held": sum(each.held for each in found),
        "results": sum(each.how == "result" for each in found),
        "refused": sum(each.how == "refused" for each in found),
        "memory_mb": max(each.memory_mb for each in found),
        "cpu_s": max(each.cpu_s for each in found),
        "broken": [asdict(each) for each in found if not each.held],
    }
    write_results("edges", where, kinds, _page(kinds))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--whole", type=int, default=0, metavar="N", help="N whole processes of each kind.")
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


def _page(kinds: dict[str, dict[str, Any]]) -> str:
    tried_, held = (sum(kind[what] for kind in kinds.values()) for what in ("tried", "held"))
    lines = [
        "# Odd and hostile inputs",
        "",
        f"{held} of {tried_} inputs held: a right result, or a refusal with the value, a rule and a remedy, "
        f"exit status neither 0 nor 70; nothing outside touched, nothing left half written, {MOST_CPU_S} s "
        f"at most, no more than {MOST_MEMORY_MB} MB beyond what this program has itself with all that the "
        f"commands import (about 1 GB; 0: never as much as that). Each row states its commit.",
        "",
        "| kind | tried | held | results | refused | memory beyond, MB | longest, s | commit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, kind in kinds.items():
        numbers = " | ".join(str(kind[key]) for key in ("tried", "held", "results", "refused"))
        most = f"{max(0, kind['memory_mb']):.0f} | {kind['cpu_s']:.1f}"
        lines.append(f"| {name} | {numbers} | {most} | `{kind['commit']}` |")
    lines += _page_of_whole(kinds)
    broken = [each for kind in kinds.values() for each in kind["broken"]]
    if broken:
        lines += ["", "What did not hold:", ""]
    lines += [f"- {e['kind']}: {e['name']}: {e['how']}: {e['words'][:200]}" for e in broken]
    return "\n".join(lines)


def _page_of_whole(kinds: dict[str, dict[str, Any]]) -> list[str]:
    some = {name: kind["whole"] for name, kind in kinds.items() if kind.get("whole", {}).get("tried")}
    if not some:
        return []
    lines = [
        "",
        "As processes of their own, with the start of the program and all of their memory but the pages of "
        "libraries' files; the draws of a fingerprint take 400 MB of it. The bound is as above, beyond the "
        f"{max(each['own_mb'] for each in some.values() if 'own_mb' in each):.0f} MB of a process that has "
        "imported what the commands import:",
        "",
        "| kind | tried | held | peak memory, MB | longest, s | commit |",
        "|---|---|---|---|---|---|",
    ]
    for name, each in some.items():
        numbers = f"{each['tried']} | {each['held']} | {each['memory_mb']:.0f} | {each['cpu_s']:.1f}"
        lines.append(f"| {name} | {numbers} | `{each['commit']}` |")
    broken = [each for kind in some.values() for each in kind["broken"]]
    return lines + [f"- {e['kind']}: {e['name']}: {e['how']}: {e['words'][:200]}" for e in broken]


if __name__ == "__main__":
    main()
