"""What expected quality costs, beside an earlier checkout on the same networks.

    OMP_NUM_THREADS=1 python benchmarks/bench_trust_cost.py --workspace WORKSPACE --before CHECKOUT

needs a finished fold 0 of one model of each data set in the workspace, with evidence. The checkout is one of
an earlier commit; its code measures in a process of its own, in turn with today's. Then `autoseg predict` is
run on all images of the data set as a whole process, with quality, its pictures and its page, and without: by
the first fold alone, and by all that are trained, as a finished model predicts by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SETS = ("Dataset004_Hippocampus", "Dataset018_FetalHead")
HERE = Path(__file__).resolve().parent
TURNS = 1
# Of a whole command; the least counts, for what else runs can only add.
WHOLE_TURNS = 3


def main() -> None:
    """Measure both and write results/trust_cost.*."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--before", type=Path, required=True, help="a checkout of an earlier commit")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_of_set(options.one, options.workspace)))
        return
    from _machine import machine, write_results

    where = machine("cpu", ("scipy", "torch"))
    checkouts = {"before": options.before.resolve(), "now": HERE.parent}
    commit = ["git", "-C", str(checkouts["before"]), "rev-parse", "--short=12", "HEAD"]
    before = subprocess.run(commit, check=True, capture_output=True, text=True).stdout.strip()
    found: dict[str, Any] = {"before": before, "sets": {}}
    for name in SETS:
        turns: dict[str, list[dict[str, Any]]] = {which: [] for which in checkouts}
        for _ in range(TURNS):
            for which, checkout in checkouts.items():
                turns[which].append(_in(checkout, name, options))
        found["sets"][name] = {which: _least(each) for which, each in turns.items()}
        found["sets"][name]["whole"] = [_whole(name, options.workspace, folds) for folds in ("0", None)]
    write_results("trust_cost", where, found, "\n".join(_text(found)))


def _in(checkout: Path, name: str, options: argparse.Namespace) -> dict[str, Any]:
    """What the code of a checkout measures, in a process of its own."""
    command = [sys.executable, str(checkout / "benchmarks" / Path(__file__).name), "--one", name]
    if not Path(command[1]).is_file():  # an earlier one has no such file: it measures by ours
        command[1] = str(HERE / Path(__file__).name)
    command += ["--workspace", str(options.workspace), "--before", str(options.before)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    content: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return content


def _of_set(name: str, place: Path) -> dict[str, Any]:
    from _trust_cost import cost_of

    from autoseg.pipeline.quality import as_walked, training_profiles
    from autoseg.trust.fit import fit_quality
    from autoseg.trust.held_out import EVALUATION
    from autoseg.workspace import Workspace

    workspace = Workspace.locate(place)
    (model,) = {path.parents[1] for path in workspace.results_of(name).glob(f"*/fold_0/{EVALUATION}")}
    dataset = as_walked(name, workspace)
    fit_quality(model, dataset, training_profiles(dataset, workspace, 1), 1)
    return cost_of(dataset, model)


def _whole(name: str, place: Path, folds: str | None) -> dict[str, float]:
    """Processor seconds of `autoseg predict` on all images, with quality and without; None: by all folds."""
    from autoseg.pipeline.quality import as_walked
    from autoseg.trust.held_out import EVALUATION
    from autoseg.workspace import Workspace

    workspace = Workspace.locate(place)
    (model,) = {path.parents[1] for path in workspace.results_of(name).glob(f"*/fold_0/{EVALUATION}")}
    images = as_walked(name, workspace).cases[0].images[0].parent
    took: dict[str, list[float]] = {"--quality": [], "--no-quality": []}
    for _ in range(WHOLE_TURNS):
        for choice, seconds in took.items():
            with tempfile.TemporaryDirectory() as out:
                line = [sys.executable, "-m", "autoseg", "predict", str(model), str(images), f"{out}/out"]
                if folds is not None:
                    line += ["--folds", folds]
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                subprocess.run(
                    [*line, "--device", "cpu", "--quiet", choice],
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    plain, assessed = min(took["--no-quality"]), min(took["--quality"])
    cases = len(list(images.iterdir()))
    networks = 1 if folds else len(list(model.glob("fold_?")))
    return {
        "networks": networks,
        "images": cases,
        "plain_s": plain,
        "assessed_s": assessed,
        "share": assessed / plain - 1,
    }


def _least(turns: list[dict[str, Any]]) -> dict[str, float]:
    """The least of each time over the turns, and the shares of these: what else runs can only add."""
    plain, assessed = (min(float(each[key]) for each in turns) for key in ("plain_s", "assessed_s"))
    more = assessed / plain - 1
    return {
        "cases": turns[0]["cases"],
        "plain_s": plain,
        "assessed_s": assessed,
        "share_one_fold": more,
        "share_five_folds": more / 5,
    }


def _text(found: Mapping[str, Any]) -> Iterator[str]:
    yield "# What expected quality costs"
    yield ""
    yield "Processor time of predicting a case with one fold's network, without and with quality, mean over"
    yield "the cases of the least of three rounds; five folds are computed from the same figures."
    yield "quality.json and quality.csv are in it, pictures and the files of segmentations are not. The same"
    yield f"networks with today's code and with that of `{found['before']}`, one after the other."
    yield ""
    yield "| data set | code | cases | plain | with quality | one fold | five folds |"
    yield "|---|---|---|---|---|---|---|"
    for name, both in found["sets"].items():
        for which, row in ((which, both[which]) for which in ("before", "now")):
            yield (
                f"| {name} | {which} | {row['cases']} | {1000 * row['plain_s']:.1f} ms | "
                f"{1000 * row['assessed_s']:.1f} ms | {row['share_one_fold']:+.1%} | "
                f"{row['share_five_folds']:+.1%} |"
            )
    yield ""
    yield "`autoseg predict` on all images as a whole process, from its start to the page of the worst, by"
    yield f"the first fold alone and by all, CPU seconds, the least of {WHOLE_TURNS} turns:"
    yield ""
    yield "| data set | networks | images | --no-quality | --quality | more |"
    yield "|---|---|---|---|---|---|"
    for name, both in found["sets"].items():
        for row in both["whole"]:
            yield (
                f"| {name} | {row['networks']} | {row['images']} | {row['plain_s']:.2f} s | "
                f"{row['assessed_s']:.2f} s | {row['share']:+.1%} |"
            )


if __name__ == "__main__":
    main()
